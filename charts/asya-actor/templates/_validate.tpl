{{- define "asya-actor.validate" -}}
{{- end }}
