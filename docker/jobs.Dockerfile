# One step of a night in a container: a pod (runners.kind `pod`), or the driver of a spark-submit.
#   docker build --file docker/jobs.Dockerfile --tag nightshift-jobs .
#   docker run nightshift-jobs python -m jobs.ingest --run-date 2011-11-30
# Mount the folder of all state at /var/lib/nightshift, as in the Airflow image: paths are written down whole.
FROM python:3.11-slim-bookworm

RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 openjdk-17-jre-headless procps \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 50000 --gid 0 --create-home nightshift \
 && install --directory --owner=50000 --group=0 /var/lib/nightshift

WORKDIR /opt/nightshift
COPY requirements.txt ./
COPY requirements/torch.txt requirements/
# torch is the CUDA build, which runs on CPUs too. pip's own variables and files say where else it may look.
RUN pip install --no-cache-dir --requirement requirements.txt \
    --requirement requirements/torch.txt

# delta-spark's jars, for the engine `submit`: Spark's own resolver fetches them from Maven, once, here.
# Without Maven: --build-arg DELTA= leaves them out, and Spark reads tables by delta-rs's file lists.
ARG DELTA=io.delta:delta-spark_4.2_2.13:4.4.1
ENV SPARK_HOME=/usr/local/lib/python3.11/site-packages/pyspark
RUN if [ -n "${DELTA}" ]; then \
      touch /tmp/nothing.py \
   && spark-submit --packages "${DELTA}" --conf spark.jars.ivy=/tmp/ivy /tmp/nothing.py \
   && cp /tmp/ivy/jars/*.jar "${SPARK_HOME}/jars/" \
   && rm -r /tmp/ivy /tmp/nothing.py; \
    fi

COPY include include
COPY jobs jobs
COPY nightshift.yaml ./

ENV PYTHONPATH=/opt/nightshift:/opt/nightshift/include \
    PYTHONUNBUFFERED=1 \
    NIGHTSHIFT_CONFIG=/opt/nightshift/nightshift.yaml \
    NIGHTSHIFT_HOME=/var/lib/nightshift \
    MLFLOW_DISABLE_TELEMETRY=true GX_ANALYTICS_ENABLED=false DO_NOT_TRACK=true
USER 50000
CMD ["python", "-m", "jobs.ingest", "--help"]
