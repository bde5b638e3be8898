# The lookup service and nothing else: no Spark, no Airflow, no model library.
#   docker build --file docker/lookup.Dockerfile --tag nightshift-lookup .
FROM python:3.11-slim-bookworm

RUN useradd --uid 50000 --gid 0 --create-home nightshift \
 && install --directory --owner=50000 --group=0 /var/lib/nightshift

WORKDIR /opt/nightshift
COPY requirements.txt ./
COPY docker/lookup-requirements.txt docker/
# requirements.txt pins what these need in turn
RUN pip install --no-cache-dir --requirement docker/lookup-requirements.txt --constraint requirements.txt

COPY include/nightshift/__init__.py include/nightshift/
COPY include/nightshift/config include/nightshift/config
COPY include/nightshift/runs include/nightshift/runs
COPY include/nightshift/publishing include/nightshift/publishing
COPY include/nightshift/experiments include/nightshift/experiments
COPY include/nightshift/serving include/nightshift/serving
COPY nightshift.yaml ./

ENV PYTHONPATH=/opt/nightshift/include \
    PYTHONUNBUFFERED=1 \
    NIGHTSHIFT_CONFIG=/opt/nightshift/nightshift.yaml \
    NIGHTSHIFT_HOME=/var/lib/nightshift
USER 50000
EXPOSE 8090
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8090/healthz', timeout=2)"]
CMD ["python", "-m", "nightshift.serving", "--host", "0.0.0.0", "--port", "8090"]
