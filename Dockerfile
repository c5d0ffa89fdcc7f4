# Images of fewshot:
#
#   docker build --target cli -t fewshot .                 the program:  docker run -v "$PWD:/data" fewshot demo
#   docker build --target serving -t fewshot-serving .     TensorFlow Serving with a model that adapts in each request
#   ... --target cli-gpu, --target serving-gpu             the same for NVIDIA GPUs (docker run --gpus all)
#
# The model is a small one, trained on simulated land cover while the image is built. To bake your own in instead, export
# it as `land` and name its folder (models/land/1 lies in it):
#
#   fewshot export runs/land --to models --name land
#   docker build --target serving --build-context model=models -t land-serving .

ARG PYTHON=3.11.13-slim-bookworm
# The release of tensorflow-serving-api in requirements.lock; --build-arg TF_SERVING=2.19.1 takes an older server, which
# reads the same models, where the registry has no image of this one.
ARG TF_SERVING=2.21.0

# Builds the environment; nothing of its tools reaches the images.
FROM python:${PYTHON} AS build
RUN python -m venv /opt/fewshot
WORKDIR /source
COPY requirements.lock ./
# One dependency comes as source and is built with these.
RUN sed -n '/^\(hatchling\|packaging\|pathspec\|pluggy\|setuptools\|trove-classifiers\|wheel\)==/p' requirements.lock > builders.txt \
    && /opt/fewshot/bin/pip install --no-cache-dir --no-deps -r builders.txt
COPY pyproject.toml README.md LICENSE cli.py ./
COPY data_manifests data_manifests
COPY fewshot fewshot
COPY serving serving
RUN /opt/fewshot/bin/pip install --no-cache-dir --no-build-isolation --constraint requirements.lock . \
    && /opt/fewshot/bin/pip check

FROM build AS build-gpu
RUN /opt/fewshot/bin/pip install --no-cache-dir --constraint requirements.lock "tensorflow[and-cuda]"

# What both programs run on. The raster library needs an XML parser that the slim image lacks.
FROM python:${PYTHON} AS runtime
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libexpat1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home fewshot
ENV PATH=/opt/fewshot/bin:$PATH PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=2

FROM runtime AS cli
COPY --from=build /opt/fewshot /opt/fewshot
USER 10001:10001
WORKDIR /data
ENTRYPOINT ["fewshot"]
CMD ["--help"]

FROM runtime AS cli-gpu
COPY --from=build-gpu /opt/fewshot /opt/fewshot
USER 10001:10001
WORKDIR /data
ENTRYPOINT ["fewshot"]
CMD ["--help"]

# A model to serve; --build-context model=FOLDER takes the place of the last of these two.
FROM cli AS train
WORKDIR /tmp
RUN fewshot train demo --out /tmp/run
RUN fewshot export /tmp/run --to /tmp/models --name land
FROM scratch AS model
COPY --from=train /tmp/models /

FROM tensorflow/serving:${TF_SERVING}-gpu AS serving-gpu
COPY --from=model --chown=10001:10001 / /models
COPY serving/tf_serving/models.config serving/tf_serving/monitoring.config /etc/fewshot/
USER 10001:10001
EXPOSE 8500 8501
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD bash -c "exec 3<>/dev/tcp/127.0.0.1/8501 && printf 'GET /v1/models/land HTTP/1.0\r\n\r\n' >&3 && grep -q '\"AVAILABLE\"' <&3"
ENTRYPOINT ["tensorflow_model_server"]
CMD ["--port=8500", "--rest_api_port=8501", "--model_config_file=/etc/fewshot/models.config", "--monitoring_config_file=/etc/fewshot/monitoring.config", "--rest_api_timeout_in_ms=120000"]

FROM tensorflow/serving:${TF_SERVING} AS serving
COPY --from=model --chown=10001:10001 / /models
COPY serving/tf_serving/models.config serving/tf_serving/monitoring.config /etc/fewshot/
USER 10001:10001
EXPOSE 8500 8501
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD bash -c "exec 3<>/dev/tcp/127.0.0.1/8501 && printf 'GET /v1/models/land HTTP/1.0\r\n\r\n' >&3 && grep -q '\"AVAILABLE\"' <&3"
ENTRYPOINT ["tensorflow_model_server"]
CMD ["--port=8500", "--rest_api_port=8501", "--model_config_file=/etc/fewshot/models.config", "--monitoring_config_file=/etc/fewshot/monitoring.config", "--rest_api_timeout_in_ms=120000"]
