# intaglio in a container, without root and without a network at run time.
#
#   docker build -t intaglio .
#   docker run --rm -v "$PWD:/data" --user "$(id -u)" intaglio demo --quick
#   docker run --rm -v "$PWD:/data" --user "$(id -u)" --gpus all intaglio finetune lora --images pictures --device cuda
#
# The user's number makes what is written the user's own; without --user it is that of user 1000.
# EXTRAS names optional groups of pyproject.toml, such as "[cluster,parquet]".

FROM python:3.11-slim AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
ARG EXTRAS=""
COPY constraints.txt /wheels/constraints.txt
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --constraint /wheels/constraints.txt "$(ls /wheels/intaglio-*.whl)${EXTRAS}" \
    && rm -r /wheels \
    && useradd --create-home --uid 1000 intaglio \
    && mkdir /data \
    && chown intaglio /data
# A home that any user may write to.
ENV HOME=/tmp
USER 1000
WORKDIR /data
ENTRYPOINT ["intaglio"]
CMD ["--help"]
