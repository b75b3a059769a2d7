{{- /* Names, labels, image. */ -}}

{{- define "asya-operator.chartName" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- /* At most 45 characters, so that the longest suffix fits whole into a name of 63. */ -}}
{{- define "asya-operator.fullname" -}}
{{- $name := include "asya-operator.chartName" . }}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 45 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}{{ .Release.Name | trunc 45 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "asya-operator.selector" -}}
app.kubernetes.io/name: {{ include "asya-operator.chartName" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- /* Labels of objects; those of pods leave helm.sh/chart and the version out, so that a chart's version restarts nothing by itself. */ -}}
{{- define "asya-operator.labels" -}}
{{ include "asya-operator.selector" . }}
app.kubernetes.io/version: {{ include "asya-operator.labelValue" (toString (coalesce (.Values.image).tag (.Values.image).digest .Chart.AppVersion)) | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: asya
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "asya-operator.serviceAccountName" -}}
{{- if (.Values.serviceAccount).create }}{{ default (include "asya-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}{{ default "default" (.Values.serviceAccount).name }}{{ end }}
{{- end }}

{{- define "asya-operator.image" -}}
{{- include "asya-operator.reference" (list .Values.image .Values.global .Chart.AppVersion) -}}
{{- end }}

{{- /* With a digest the tag stays in it, for status.sidecarVersion; only the digest counts. */ -}}
{{- define "asya-operator.sidecarImage" -}}
{{- $image := (.Values.sidecar).image | default dict }}{{ $tag := ternary (printf ":%s@" (toString $image.tag)) "@" (not (not $image.tag)) -}}
{{- include "asya-operator.reference" (list $image .Values.global .Chart.AppVersion) | replace "@" $tag -}}
{{- end }}

{{- /* The namespaces of scope namespace, sorted. */ -}}
{{- define "asya-operator.namespaces" -}}
{{- include "asya-operator.chosen" (.Values.watch).namespaces -}}
{{- end }}
