{{- define "asya-operator.validate" -}}
{{- end }}
