#!/bin/sh
# Writes flux/ENVIRONMENT/actors.yaml and kustomization.yaml from the files of actors/ENVIRONMENT: Flux has no generator over files.
# Run it in the repository's root whenever a file comes or goes; changed content needs nothing.
#   sh flux/write.sh dev
set -eu
environment=$1
folder=flux/$environment
mkdir -p "$folder"
{
    echo "# Written by flux/write.sh $environment from the files of actors/$environment; do not edit."
    for file in "actors/$environment"/*.yaml; do
        name=$(basename "$file" .yaml)
        cat <<ACTOR
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: $name, namespace: asya-$environment}
spec:
  interval: 10m
  chartRef: {kind: OCIRepository, name: asya-actor, namespace: asya-system}
  dependsOn:
    - {name: asya-operator, namespace: asya-system}
    - {name: asya-crew, namespace: asya-$environment}
  valuesFrom:
    - {kind: ConfigMap, name: $name-values}
  driftDetection: {mode: enabled}
ACTOR
    done
} >"$folder/actors.yaml"
{
    echo "# Written by flux/write.sh $environment from the files of actors/$environment; do not edit."
    echo "apiVersion: kustomize.config.k8s.io/v1beta1"
    echo "kind: Kustomization"
    echo "namespace: asya-$environment"
    echo "resources: [environment.yaml, actors.yaml]"
    echo "configurations: [../names.yaml]"
    echo "configMapGenerator:"
    for file in "tools/$environment"/*.yaml; do
        echo "  - {name: gateway-tools, files: [values.yaml=../../$file]}"
    done
    for file in "actors/$environment"/*.yaml; do
        echo "  - {name: $(basename "$file" .yaml)-values, files: [values.yaml=../../$file]}"
    done
} >"$folder/kustomization.yaml"
