{{- /* Contradictions that the schema cannot see, told at once; those of the two actors too. */ -}}

{{- define "asya-crew.validate" -}}
{{- include "asya-actor.stop" (list (include "asya-crew.problems" .) .) -}}
{{- end }}

{{- define "asya-crew.problems" -}}
{{- $s3 := (.Values.storage).s3 | default dict }}{{ $directory := (.Values.storage).directory | default dict }}
{{- if and $s3.bucket $directory.claimName }}
- storage.s3.bucket and storage.directory.claimName are both set; results go to exactly one place, empty one of them
{{- else if not (or $s3.bucket $directory.claimName) }}
- storage is not set, results would be lost; set storage.s3.bucket or storage.directory.claimName
{{- end }}
{{- range $name, $keys := dict "rabbitmq" (list "username" "password") "sqs" (list "accessKeyId" "secretAccessKey") "storage" (list "accessKeyId" "secretAccessKey") }}
{{- $secret := index ($.Values.credentials | default dict) $name | default dict }}
{{- if $secret.create }}
{{- range $key := prepend $keys "name" }}{{ if not (index $secret $key) }}
- credentials.{{ $name }}.{{ $key }} is empty; set it, or create the Secret yourself and set credentials.{{ $name }}.create to false
{{- end }}{{ end }}
{{- end }}
{{- end }}
{{- $storage := (.Values.credentials).storage | default dict }}
{{- if and $storage.create (ne (toString $s3.secretName) (toString $storage.name)) }}
- credentials.storage.create makes Secret {{ $storage.name }}, which storage.s3.secretName does not name; set it to {{ $storage.name }}
{{- end }}
{{- include "asya-crew.actorProblems" (list . "happy-end" "asya_crew.happy_end.store" "happyEnd") }}
{{- include "asya-crew.actorProblems" (list . "error-end" "asya_crew.error_end.store" "errorEnd") }}
{{- end }}

{{- /* CONTEXT NAME HANDLER KEY: problems of one end actor, and values that are not the user's to set */ -}}
{{- define "asya-crew.actorProblems" -}}
{{- $context := index . 0 }}{{ $key := index . 3 }}
{{- $user := index $context.Values $key | default dict }}
{{- range $name := list "actorName" "handler" "handlerMode" "image" "source" "extraObjects" "libraryOnly" }}
{{- if hasKey $user $name }}
- {{ $key }}.{{ $name }} has no effect in this chart; remove it{{ if eq $name "image" }} and set image{{ end }}
{{- end }}
{{- end }}
{{- $values := include "asya-crew.context" (list $context (index . 1) (index . 2) $user) | fromJson }}
{{- $problems := include "asya-actor.problems" (dict "Values" $values "Chart" $context.Chart "Release" $context.Release "Capabilities" $context.Capabilities "Template" $context.Template) }}
{{- $problems | replace "\n- " (printf "\n- %s." $key) }}
{{- end }}
