#!/bin/sh
# Starts Triton on the model that was fetched: model.json names /tmp/model, and which model that is, is
# told by MODEL_PREFIX. Reached from this task only: the addresses are those of the loopback.
set -eu
ln -sfn "/models/$MODEL_PREFIX" /tmp/model
exec tritonserver \
    --model-repository=/opt/chatcore/model_repository \
    --model-control-mode=explicit \
    --load-model=vllm \
    --http-address=127.0.0.1 \
    --http-port=8000 \
    --grpc-address=127.0.0.1 \
    --grpc-port=8001 \
    --metrics-address=127.0.0.1 \
    --exit-timeout-secs=30
