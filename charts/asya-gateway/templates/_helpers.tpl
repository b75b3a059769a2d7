{{- /* Names, labels, image. */ -}}

{{- define "asya-gateway.chartName" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- /* At most 45 characters, so that the longest suffix fits whole into a name of 63. */ -}}
{{- define "asya-gateway.fullname" -}}
{{- $name := include "asya-gateway.chartName" . }}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 45 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}{{ .Release.Name | trunc 45 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "asya-gateway.selector" -}}
app.kubernetes.io/name: {{ include "asya-gateway.chartName" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end }}

{{- /* Labels of objects; those of pods leave helm.sh/chart and the version out, so that a chart's version restarts nothing by itself. */ -}}
{{- define "asya-gateway.labels" -}}
{{ include "asya-gateway.selector" . }}
app.kubernetes.io/version: {{ include "asya-gateway.labelValue" (toString (coalesce (.Values.image).tag (.Values.image).digest .Chart.AppVersion)) | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: asya
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "asya-gateway.serviceAccountName" -}}
{{- if (.Values.serviceAccount).create }}{{ default (include "asya-gateway.fullname" .) .Values.serviceAccount.name }}
{{- else }}{{ default "default" (.Values.serviceAccount).name }}{{ end }}
{{- end }}

{{- define "asya-gateway.image" -}}
{{- include "asya-gateway.reference" (list .Values.image .Values.global .Chart.AppVersion) -}}
{{- end }}

{{- /* Whether a number of gateways scales by itself, and the least that always runs. */ -}}
{{- define "asya-gateway.floor" -}}
{{- if (.Values.autoscaling).enabled }}{{ int64 (.Values.autoscaling.minReplicas | default 2) }}
{{- else if kindIs "invalid" .Values.replicas }}1
{{- else }}{{ int64 .Values.replicas }}{{ end }}
{{- end }}

{{- define "asya-gateway.isPostgres" -}}
{{- if eq ((.Values.store).type | default "sqlite") "postgres" }}true{{ end }}
{{- end }}

{{- define "asya-gateway.isSqs" -}}
{{- if eq (.Values.transport | default "rabbitmq") "sqs" }}true{{ end }}
{{- end }}

{{- /* Name of the claim of SQLite; empty = none. */ -}}
{{- define "asya-gateway.claim" -}}
{{- $persistence := ((.Values.store).sqlite).persistence | default dict }}
{{- if and (not (include "asya-gateway.isPostgres" .)) $persistence.enabled }}{{ $persistence.existingClaim | default (include "asya-gateway.fullname" .) }}{{ end }}
{{- end }}

{{- /* Accepted names in Host and Origin: Service, Ingress, HTTPRoute, the user's. */ -}}
{{- define "asya-gateway.hosts" -}}
{{- $name := include "asya-gateway.fullname" . }}{{ $namespace := .Release.Namespace }}
{{- $service := printf "%s.%s.svc" $name $namespace }}
{{- $hosts := list $name (printf "%s.%s" $name $namespace) $service (printf "%s.cluster.local" $service) }}
{{- if (.Values.ingress).enabled }}{{ $hosts = concat $hosts (keys (.Values.ingress.hosts | default dict) | sortAlpha) }}{{ end }}
{{- if (.Values.httpRoute).enabled }}{{ $hosts = concat $hosts (include "asya-gateway.chosen" .Values.httpRoute.hostnames | fromJsonArray) }}{{ end }}
{{- concat $hosts (include "asya-gateway.chosen" .Values.hosts | fromJsonArray) | uniq | join "," }}
{{- end }}

{{- /* The file of tools: what is null is left out. */ -}}
{{- define "asya-gateway.tools" -}}
{{- $tools := dict }}
{{- range $name, $tool := .Values.tools | default dict }}
{{- if not (kindIs "invalid" $tool) }}
{{- $kept := dict }}
{{- range $key, $value := $tool }}{{ if not (kindIs "invalid" $value) }}{{ $_ := set $kept $key $value }}{{ end }}{{ end }}
{{- $_ := set $tools $name $kept }}
{{- end }}
{{- end }}
{{- $flows := dict }}
{{- range $name, $flow := .Values.flows | default dict }}{{ if not (kindIs "invalid" $flow) }}{{ $_ := set $flows $name $flow }}{{ end }}{{ end }}
{{- toYaml (dict "tools" $tools "flows" $flows) }}
{{- end }}

{{- /* Port of an http(s) address, as text. */ -}}
{{- define "asya-gateway.portOf" -}}
{{- $url := urlParse . }}
{{- regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end }}
