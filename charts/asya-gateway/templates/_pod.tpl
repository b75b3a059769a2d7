{{- /* The gateway's pod: environment, mounts, volumes, security. */ -}}

{{- define "asya-gateway.securityContext" -}}
{{- $user := include "asya-gateway.object" (list (.Values.securityContext | default dict) .) | fromJson }}
{{- toJson (merge $user (dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")))) }}
{{- end }}

{{- define "asya-gateway.podSecurityContext" -}}
{{- $user := include "asya-gateway.object" (list (.Values.podSecurityContext | default dict) .) | fromJson }}
{{- $own := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") }}
{{- with (.Values.podPolicy).runAsUser }}{{ $_ := set $own "runAsUser" . }}{{ $_ := set $own "runAsGroup" . }}{{ end }}
{{- with (.Values.podPolicy).fsGroup }}{{ $_ := set $own "fsGroup" . }}{{ end }}
{{- toJson (merge $user $own) }}
{{- end }}

{{- /* What the gateway is told: docs/reference/gateway.md. What is empty is left to the gateway's own default. */ -}}
{{- define "asya-gateway.settings" -}}
{{- $values := .Values }}{{ $rabbitmq := $values.rabbitmq | default dict }}{{ $store := $values.store | default dict }}
{{- $auth := $values.auth | default dict }}{{ $internal := $values.internal | default dict }}{{ $limits := $values.limits | default dict }}
{{- $set := dict
      "ASYA_TRANSPORT" (.Values.transport | default "rabbitmq")
      "ASYA_GATEWAY_HOSTS" (include "asya-gateway.hosts" .)
      "ASYA_GATEWAY_STORE" ($store.type | default "sqlite")
      "ASYA_GATEWAY_RETENTION" (($store.retention).final)
      "ASYA_GATEWAY_RETENTION_FAILED" (($store.retention).failed)
      "ASYA_GATEWAY_AUTH" ($auth.mode | default "apiKey")
      "ASYA_GATEWAY_INTERNAL_AUTH" ($internal.auth | default "jwt")
      "ASYA_GATEWAY_MAX_BODY" $limits.maxBody
      "ASYA_GATEWAY_MAX_INLINE_RESULT" $limits.maxInlineResult
      "ASYA_MAX_MESSAGE_BYTES" $limits.maxMessage
      "ASYA_GATEWAY_RATE" $limits.rate
      "ASYA_GATEWAY_BURST" $limits.burst
      "ASYA_GATEWAY_STREAMS" $limits.streams
      "ASYA_GATEWAY_STREAMS_PER_PRINCIPAL" $limits.streamsPerPrincipal
      "ASYA_LOG_LEVEL" ($values.log).level
      "OTEL_EXPORTER_OTLP_ENDPOINT" ($values.tracing).endpoint }}
{{- if hasKey ($values.mcp | default dict) "pollTools" }}{{ $_ := set $set "ASYA_GATEWAY_POLL_TOOLS" (toString $values.mcp.pollTools) }}{{ end }}
{{- if include "asya-gateway.isPostgres" . }}{{ $_ := set $set "ASYA_GATEWAY_POSTGRES_URL_FILE" "/etc/asya-gateway/postgres/url" }}{{ end }}
{{- if $auth.allowAnonymous }}{{ $_ := set $set "ASYA_GATEWAY_ALLOW_ANONYMOUS" "true" }}{{ end }}
{{- if eq ($auth.mode | default "apiKey") "oauth" }}
{{- range $name, $key := dict "ISSUER" "issuer" "AUDIENCE" "audience" "JWKS_URL" "jwksUrl" "RESOURCE" "resource" }}
{{- $_ := set $set (printf "ASYA_GATEWAY_OAUTH_%s" $name) (index ($auth.oauth | default dict) $key) }}
{{- end }}
{{- end }}
{{- if eq ($internal.auth | default "jwt") "jwt" }}
{{- $_ := set $set "ASYA_GATEWAY_INTERNAL_ISSUER" $internal.issuer }}
{{- $_ := set $set "ASYA_GATEWAY_INTERNAL_JWKS_URL" $internal.jwksUrl }}
{{- end }}
{{- merge $set (include "asya-gateway.transportSettings" . | fromJson) (include "asya-gateway.resultSettings" . | fromJson) | toJson }}
{{- end }}

{{- define "asya-gateway.transportSettings" -}}
{{- $rabbitmq := .Values.rabbitmq | default dict }}{{ $sqs := .Values.sqs | default dict }}{{ $claims := .Values.claims | default dict }}
{{- $set := dict }}
{{- if include "asya-gateway.isSqs" . }}
{{- $set = dict "AWS_REGION" $sqs.region "ASYA_SQS_ENDPOINT" $sqs.endpoint }}
{{- else }}
{{- $scheme := ternary "amqps" "amqp" (default false ($rabbitmq.tls).enabled) }}
{{- $set = dict
      "ASYA_RABBITMQ_ADDRESS" (printf "%s://%s:%d" $scheme ($rabbitmq.host | default "") (int64 ($rabbitmq.port | default 5672)))
      "ASYA_RABBITMQ_VHOST" ($rabbitmq.vhost | default "/")
      "ASYA_RABBITMQ_CREDENTIALS_DIR" "/var/run/secrets/asya-rabbitmq" }}
{{- if and ($rabbitmq.tls).enabled ($rabbitmq.tls).caConfigMap }}{{ $_ := set $set "ASYA_RABBITMQ_TLS_CA" "/etc/asya-gateway/ca/ca.crt" }}{{ end }}
{{- end }}
{{- if $claims.url }}
{{- $set = merge $set (dict "ASYA_CLAIM_URL" $claims.url "ASYA_CLAIM_THRESHOLD" $claims.threshold "ASYA_CLAIM_REGION" $claims.region "ASYA_CLAIM_ENDPOINT" $claims.endpoint) }}
{{- end }}
{{- toJson $set }}
{{- end }}

{{- /* Secrets with AWS keys that the values name: one pair of keys serves all of them. */ -}}
{{- define "asya-gateway.awsSecrets" -}}
{{- $names := list }}
{{- $s3 := (.Values.results).s3 | default dict }}{{ $sqs := .Values.sqs | default dict }}
{{- if and (include "asya-gateway.isSqs" .) (eq ($sqs.auth | default "podIdentity") "secret") }}{{ $names = append $names (($sqs.existingSecret).name | default "asya-sqs") }}{{ end }}
{{- if and $s3.bucket $s3.secretName }}{{ $names = append $names $s3.secretName }}{{ end }}
{{- if and (.Values.claims).url (.Values.claims).secretName }}{{ $names = append $names .Values.claims.secretName }}{{ end }}
{{- toJson (uniq $names) }}
{{- end }}

{{- define "asya-gateway.resultSettings" -}}
{{- $s3 := (.Values.results).s3 | default dict }}{{ $directory := (.Values.results).directory | default dict }}
{{- $set := dict }}
{{- if $s3.bucket }}
{{- $_ := set $set "ASYA_GATEWAY_RESULTS_URL" (printf "s3://%s/%s" $s3.bucket ($s3.prefix | default "" | trimPrefix "/") | trimSuffix "/") }}
{{- $_ := set $set "ASYA_GATEWAY_RESULTS_S3_REGION" $s3.region }}
{{- $_ := set $set "ASYA_GATEWAY_RESULTS_S3_ENDPOINT" $s3.endpoint }}
{{- if $s3.pathStyle }}{{ $_ := set $set "ASYA_GATEWAY_RESULTS_S3_PATH_STYLE" "true" }}{{ end }}
{{- else if $directory.claimName }}
{{- $_ := set $set "ASYA_GATEWAY_RESULTS_URL" (printf "file://%s" ($directory.path | default "/results")) }}
{{- end }}
{{- toJson $set }}
{{- end }}

{{- define "asya-gateway.containerEnv" -}}
{{- $env := list (dict "name" "ASYA_NAMESPACE" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.namespace"))) }}
{{- $settings := include "asya-gateway.settings" . | fromJson }}
{{- range $name := keys $settings | sortAlpha }}
{{- $value := index $settings $name }}
{{- if and (not (kindIs "invalid" $value)) (ne (toString $value) "") }}
{{- $env = append $env (dict "name" $name "value" (ternary $value (toJson $value) (kindIs "string" $value))) }}
{{- end }}
{{- end }}
{{- with include "asya-gateway.awsSecrets" . | fromJsonArray }}
{{- $secret := first . }}
{{- range $name := list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
{{- $env = append $env (dict "name" $name "valueFrom" (dict "secretKeyRef" (dict "name" $secret "key" $name))) }}
{{- end }}
{{- end }}
{{- toJson (concat $env (include "asya-gateway.env" (list .Values.env .) | fromJsonArray)) }}
{{- end }}

{{- /* What is mounted, as a list of {name, mountPath, readOnly?, source}: volumes and mounts are made of it. */ -}}
{{- define "asya-gateway.files" -}}
{{- $values := .Values }}{{ $rabbitmq := $values.rabbitmq | default dict }}{{ $secret := $rabbitmq.existingSecret | default dict }}
{{- $files := list
      (dict "name" "tools" "mountPath" "/etc/asya-gateway/tools" "source" (dict "configMap" (dict "name" (printf "%s-tools" (include "asya-gateway.fullname" .))))) }}
{{- if not (include "asya-gateway.isSqs" .) }}
{{- $files = append $files (dict "name" "rabbitmq" "mountPath" "/var/run/secrets/asya-rabbitmq" "source" (dict "secret" (dict "secretName" ($secret.name | default "asya-rabbitmq") "items" (list
        (dict "key" ($secret.usernameKey | default "username") "path" "username")
        (dict "key" ($secret.passwordKey | default "password") "path" "password"))))) }}
{{- if and ($rabbitmq.tls).enabled ($rabbitmq.tls).caConfigMap }}
{{- $files = append $files (dict "name" "rabbitmq-ca" "mountPath" "/etc/asya-gateway/ca" "source" (dict "configMap" (dict
      "name" $rabbitmq.tls.caConfigMap "items" (list (dict "key" ($rabbitmq.tls.caKey | default "ca.crt") "path" "ca.crt"))))) }}
{{- end }}
{{- end }}
{{- if eq (($values.auth).mode | default "apiKey") "apiKey" }}
{{- $files = append $files (dict "name" "keys" "mountPath" "/etc/asya-gateway/keys" "source" (dict "secret" (dict
      "secretName" ((($values.auth).apiKeys).existingSecret | default "asya-gateway-keys") "items" (list (dict "key" "keys.yaml" "path" "keys.yaml"))))) }}
{{- end }}
{{- if eq (($values.internal).auth | default "jwt") "key" }}
{{- $files = append $files (dict "name" "internal" "mountPath" "/etc/asya-gateway/internal" "source" (dict "secret" (dict
      "secretName" $values.internal.keySecret "items" (list (dict "key" ($values.internal.keySecretKey | default "token") "path" "key"))))) }}
{{- end }}
{{- if include "asya-gateway.isPostgres" . }}
{{- $postgres := (($values.store).postgres).existingSecret | default dict }}
{{- $files = append $files (dict "name" "postgres" "mountPath" "/etc/asya-gateway/postgres" "source" (dict "secret" (dict
      "secretName" ($postgres.name | default "") "items" (list (dict "key" ($postgres.key | default "url") "path" "url"))))) }}
{{- end }}
{{- $directory := ($values.results).directory | default dict }}
{{- if $directory.claimName }}
{{- $files = append $files (dict "name" "results" "mountPath" ($directory.path | default "/results") "source" (dict "persistentVolumeClaim" (dict "claimName" $directory.claimName "readOnly" true))) }}
{{- end }}
{{- range $file := $files }}{{ $_ := set $file "readOnly" true }}{{ end }}
{{- if not (include "asya-gateway.isPostgres" .) }}
{{- $claim := include "asya-gateway.claim" . }}
{{- $size := (((($values.store).sqlite).persistence).size | default "5Gi") }}
{{- $source := dict "emptyDir" (dict "sizeLimit" $size) }}
{{- if $claim }}{{ $source = dict "persistentVolumeClaim" (dict "claimName" $claim) }}{{ end }}
{{- $files = append $files (dict "name" "data" "mountPath" "/var/lib/asya-gateway" "source" $source) }}
{{- end }}
{{- toJson (append $files (dict "name" "tmp" "mountPath" "/tmp" "source" (dict "emptyDir" (dict "sizeLimit" "64Mi")))) }}
{{- end }}

{{- define "asya-gateway.mounts" -}}
{{- $mounts := list }}
{{- range $file := include "asya-gateway.files" . | fromJsonArray }}{{ $mounts = append $mounts (omit $file "source") }}{{ end }}
{{- toJson (concat $mounts (include "asya-gateway.named" (list .Values.volumeMounts .) | fromJsonArray)) }}
{{- end }}

{{- /* The secret of the role that changes tables, if it is another one. */ -}}
{{- define "asya-gateway.migrateSecret" -}}
{{- if include "asya-gateway.isPostgres" . }}{{ (((.Values.store).postgres).migrateSecret).name }}{{ end }}
{{- end }}

{{- define "asya-gateway.ownVolumes" -}}
{{- $volumes := list }}
{{- range $file := include "asya-gateway.files" . | fromJsonArray }}{{ $volumes = append $volumes (merge (dict "name" $file.name) $file.source) }}{{ end }}
{{- with include "asya-gateway.migrateSecret" . }}
{{- $key := ((($.Values.store).postgres).migrateSecret).key | default "url" }}
{{- $volumes = append $volumes (dict "name" "migrate" "secret" (dict "secretName" . "items" (list (dict "key" $key "path" "url")))) }}
{{- end }}
{{- toJson $volumes }}
{{- end }}

{{- /* A container of the gateway's image: NAME CONTEXT */ -}}
{{- define "asya-gateway.container" -}}
{{- $context := index . 1 }}{{ $values := $context.Values }}
{{- $container := dict
      "name" (index . 0)
      "image" (include "asya-gateway.image" $context)
      "env" (include "asya-gateway.containerEnv" $context | fromJsonArray)
      "securityContext" (include "asya-gateway.securityContext" $context | fromJson)
      "volumeMounts" (include "asya-gateway.mounts" $context | fromJsonArray) }}
{{- with ($values.image).pullPolicy }}{{ $_ := set $container "imagePullPolicy" . }}{{ end }}
{{- with include "asya-gateway.values" (list $values.envFrom $context) | fromJsonArray }}{{ $_ := set $container "envFrom" . }}{{ end }}
{{- with $values.resources }}{{ $_ := set $container "resources" . }}{{ end }}
{{- toJson $container }}
{{- end }}

{{- /* Brings the tables up to this version, before each start. */ -}}
{{- define "asya-gateway.migrate" -}}
{{- $container := include "asya-gateway.container" (list "migrate" .) | fromJson }}
{{- $_ := set $container "args" (list "migrate") }}
{{- if include "asya-gateway.migrateSecret" . }}
{{- $_ := set $container "volumeMounts" (append $container.volumeMounts (dict "name" "migrate" "mountPath" "/etc/asya-gateway/migrate" "readOnly" true)) }}
{{- range $entry := $container.env }}
{{- if eq $entry.name "ASYA_GATEWAY_POSTGRES_URL_FILE" }}{{ $_ := set $entry "value" "/etc/asya-gateway/migrate/url" }}{{ end }}
{{- end }}
{{- end }}
{{- toJson $container }}
{{- end }}

{{- /* The pod's spec without containers: placement, account, security, pull Secrets. */ -}}
{{- define "asya-gateway.podSpec" -}}
{{- $pod := include "asya-gateway.pod" (list .Values .) | fromJson }}
{{- $_ := set $pod "securityContext" (include "asya-gateway.podSecurityContext" . | fromJson) }}
{{- $_ := set $pod "serviceAccountName" (include "asya-gateway.serviceAccountName" .) }}
{{- $_ := set $pod "automountServiceAccountToken" (eq ((.Values.internal).auth | default "jwt") "jwt") }}
{{- $_ := set $pod "enableServiceLinks" false }}
{{- with include "asya-gateway.pullSecrets" (list (.Values.image).pullSecrets .Values.global) | fromJsonArray }}{{ $_ := set $pod "imagePullSecrets" . }}{{ end }}
{{- toJson $pod }}
{{- end }}
