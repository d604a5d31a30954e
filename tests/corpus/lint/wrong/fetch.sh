#!/bin/sh
curl -sSLk https://api.internal/health
curl --silent \
    --insecure https://api.internal/
wget -q --no-check-certificate https://downloads.example.org/kit.tar.gz
git -c http.sslVerify=false clone https://git.example.org/shop.git
curl --tlsv1.0 https://old.example.org/
export SSLKEYLOGFILE=/tmp/keys.log
export NODE_TLS_REJECT_UNAUTHORIZED=0
export CACHE=redis://cache.internal:6379
