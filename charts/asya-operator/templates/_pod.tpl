{{- /* The pod that operator and helm test share: account, settings, runtime file, broker credentials, security. */ -}}

{{- define "asya-operator.securityContext" -}}
{{- $user := include "asya-operator.object" (list (.Values.securityContext | default dict) .) | fromJson }}
{{- toJson (merge $user (dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")))) }}
{{- end }}

{{- define "asya-operator.podSecurityContext" -}}
{{- $user := include "asya-operator.object" (list (.Values.podSecurityContext | default dict) .) | fromJson }}
{{- $own := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") }}
{{- with (.Values.podPolicy).runAsUser }}{{ $_ := set $own "runAsUser" . }}{{ $_ := set $own "runAsGroup" . }}{{ end }}
{{- with (.Values.podPolicy).fsGroup }}{{ $_ := set $own "fsGroup" . }}{{ end }}
{{- toJson (merge $user $own) }}
{{- end }}

{{- define "asya-operator.containerEnv" -}}
{{- $env := list
      (dict "name" "ASYA_OPERATOR_NAMESPACE" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.namespace")))
      (dict "name" "ASYA_OPERATOR_POD" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.name"))) }}
{{- $rabbitmq := (.Values.transports).rabbitmq | default dict }}
{{- if and $rabbitmq.enabled ($rabbitmq.tls).enabled ($rabbitmq.tls).caConfigMap }}
{{- $env = append $env (dict "name" "ASYA_OPERATOR_TLS_CA" "value" "/etc/asya-operator-ca/ca.crt") }}
{{- end }}
{{- $sqs := (.Values.transports).sqs | default dict }}
{{- if and $sqs.enabled (eq $sqs.auth "secret") }}
{{- range $name := list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
{{- $env = append $env (dict "name" $name "valueFrom" (dict "secretKeyRef" (dict "name" $sqs.operatorSecret.name "key" $name))) }}
{{- end }}
{{- end }}
{{- toJson (concat $env (include "asya-operator.env" (list .Values.env .) | fromJsonArray)) }}
{{- end }}

{{- define "asya-operator.mounts" -}}
{{- $mounts := list
      (dict "name" "settings" "mountPath" "/etc/asya-operator" "readOnly" true)
      (dict "name" "runtime" "mountPath" "/opt/asya" "readOnly" true)
      (dict "name" "tmp" "mountPath" "/tmp") }}
{{- $rabbitmq := (.Values.transports).rabbitmq | default dict }}
{{- if $rabbitmq.enabled }}
{{- $mounts = append $mounts (dict "name" "rabbitmq" "mountPath" "/var/run/secrets/asya-rabbitmq" "readOnly" true) }}
{{- if and ($rabbitmq.tls).enabled ($rabbitmq.tls).caConfigMap }}
{{- $mounts = append $mounts (dict "name" "rabbitmq-ca" "mountPath" "/etc/asya-operator-ca" "readOnly" true) }}
{{- end }}
{{- end }}
{{- toJson (concat $mounts (include "asya-operator.named" (list .Values.volumeMounts .) | fromJsonArray)) }}
{{- end }}

{{- define "asya-operator.ownVolumes" -}}
{{- $name := include "asya-operator.fullname" . }}
{{- $volumes := list
      (dict "name" "settings" "configMap" (dict "name" $name))
      (dict "name" "runtime" "configMap" (dict "name" (printf "%s-runtime" $name)))
      (dict "name" "tmp" "emptyDir" (dict "sizeLimit" "64Mi")) }}
{{- $rabbitmq := (.Values.transports).rabbitmq | default dict }}
{{- if $rabbitmq.enabled }}
{{- $secret := $rabbitmq.operatorSecret | default dict }}
{{- $items := list (dict "key" ($secret.usernameKey | default "username") "path" "username") (dict "key" ($secret.passwordKey | default "password") "path" "password") }}
{{- $volumes = append $volumes (dict "name" "rabbitmq" "secret" (dict "secretName" ($secret.name | default "asya-rabbitmq") "items" $items)) }}
{{- if and ($rabbitmq.tls).enabled ($rabbitmq.tls).caConfigMap }}
{{- $ca := dict "name" $rabbitmq.tls.caConfigMap "items" (list (dict "key" ($rabbitmq.tls.caKey | default "ca.crt") "path" "ca.crt")) }}
{{- $volumes = append $volumes (dict "name" "rabbitmq-ca" "configMap" $ca) }}
{{- end }}
{{- end }}
{{- toJson $volumes }}
{{- end }}

{{- /* CONTAINER CONTEXT: the spec of a pod with this one container of ours */ -}}
{{- define "asya-operator.podSpec" -}}
{{- $container := index . 0 }}{{ $context := index . 1 }}{{ $values := $context.Values }}
{{- $pod := include "asya-operator.pod" (list $values $context) | fromJson }}
{{- $_ := set $pod "securityContext" (include "asya-operator.podSecurityContext" $context | fromJson) }}
{{- $_ := set $pod "volumes" (concat (include "asya-operator.ownVolumes" $context | fromJsonArray) ($pod.volumes | default list)) }}
{{- $_ := set $pod "serviceAccountName" (include "asya-operator.serviceAccountName" $context) }}
{{- $_ := set $pod "automountServiceAccountToken" true }}
{{- $_ := set $pod "enableServiceLinks" false }}
{{- with include "asya-operator.pullSecrets" (list ($values.image).pullSecrets $values.global) | fromJsonArray }}{{ $_ := set $pod "imagePullSecrets" . }}{{ end }}
{{- $_ := set $container "image" (include "asya-operator.image" $context) }}
{{- with ($values.image).pullPolicy }}{{ $_ := set $container "imagePullPolicy" . }}{{ end }}
{{- $_ := set $container "env" (include "asya-operator.containerEnv" $context | fromJsonArray) }}
{{- with include "asya-operator.values" (list $values.envFrom $context) | fromJsonArray }}{{ $_ := set $container "envFrom" . }}{{ end }}
{{- $_ := set $container "securityContext" (include "asya-operator.securityContext" $context | fromJson) }}
{{- with $values.resources }}{{ $_ := set $container "resources" . }}{{ end }}
{{- $_ := set $container "volumeMounts" (include "asya-operator.mounts" $context | fromJsonArray) }}
{{- $_ := set $pod "containers" (list $container) }}
{{- toJson $pod }}
{{- end }}
