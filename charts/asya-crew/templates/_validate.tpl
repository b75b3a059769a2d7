{{- define "asya-crew.validate" -}}
{{- end }}
