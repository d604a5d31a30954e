FROM node:22
ENV NODE_TLS_REJECT_UNAUTHORIZED=0
ENV PYTHONHTTPSVERIFY 0
RUN npm config set strict-ssl false && npm ci
RUN pip install --trusted-host pypi.example.org shop
