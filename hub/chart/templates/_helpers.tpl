{{- define "modelyard.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{- end -}}
{{- end -}}

{{/* Labels by which parts are chosen; they never change. Call with (dict "root" $ "component" "hub"). */}}
{{- define "modelyard.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "modelyard.labels" -}}
{{ include "modelyard.selector" . }}
app.kubernetes.io/part-of: modelyard
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "modelyard.secrets" -}}
{{ .Values.secrets.existing | default (printf "%s-secrets" (include "modelyard.fullname" .)) }}
{{- end -}}

{{- define "modelyard.databaseSecret" -}}
{{ .Values.database.existingSecret | default (printf "%s-database" (include "modelyard.fullname" .)) }}
{{- end -}}

{{- define "modelyard.artifactsClaim" -}}
{{ printf "%s-artifacts" (include "modelyard.fullname" .) }}
{{- end -}}

{{- define "modelyard.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "modelyard.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* What all pods of the release have. */}}
{{- define "modelyard.pod" -}}
enableServiceLinks: false
securityContext: {{- include "modelyard.podSecurity" . | nindent 2 }}
{{- with .Values.images.pullSecrets }}
imagePullSecrets: {{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClass }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* Quantities of memory as bytes, for the settings. */}}
{{- define "modelyard.bytes" -}}
{{- $factors := dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $text := toString . -}}
{{- $unit := regexFind "[KMGT]i$" $text -}}
{{- $number := trimSuffix $unit $text -}}
{{- if $unit -}}{{ mulf (float64 $number) (get $factors $unit) | int64 }}{{- else -}}{{ int64 $number }}{{- end -}}
{{- end -}}

{{/* Environment of JupyterHub, the hub service and MLflow: what is secret. The rest is in the settings file. */}}
{{- define "modelyard.environment" -}}
{{- $name := include "modelyard.fullname" . -}}
{{- $d := .Values.database -}}
{{- $host := $d.host | default (printf "%s-postgresql" $name) -}}
{{- $url := printf "postgresql+psycopg://%s:$(DATABASE_PASSWORD)@%s:%d" $d.user $host (int $d.port) -}}
- name: DATABASE_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "modelyard.databaseSecret" . }}, key: password}}
- name: MODELYARD_DATABASE_URL
  value: {{ printf "%s/%s?sslmode=%s" $url $d.names.service $d.sslmode | quote }}
- name: MODELYARD_HUB_DATABASE_URL
  value: {{ printf "%s/%s?sslmode=%s" $url $d.names.hub $d.sslmode | quote }}
- name: MODELYARD_MLFLOW_DATABASE_URL
  value: {{ printf "%s/%s?sslmode=%s" $url $d.names.mlflow $d.sslmode | quote }}
- name: MODELYARD_HOME
  value: /srv/modelyard
- name: MODELYARD_CONFIG
  value: /etc/modelyard/settings/modelyard.toml
- name: JUPYTERHUB_API_URL
  value: http://{{ $name }}-hub:8081/hub/api
- name: JUPYTERHUB_BASE_URL
  value: /
- name: JUPYTERHUB_SERVICE_NAME
  value: modelyard
- name: JUPYTERHUB_SERVICE_PREFIX
  value: /services/modelyard/
- name: JUPYTERHUB_SERVICE_URL
  value: http://{{ $name }}-service:8082
- name: JUPYTERHUB_CLIENT_ID
  value: service-modelyard
- name: JUPYTERHUB_OAUTH_CALLBACK_URL
  value: /services/modelyard/oauth_callback
{{- end -}}

{{/* What makes a pod anew: (dict "root" $). */}}
{{- define "modelyard.checksums" -}}
checksum/settings: {{ include (print .Template.BasePath "/settings.yaml") . | sha256sum }}
{{- if .Values.secrets.existing }}
checksum/secrets: {{ .Values.secrets.existing }}
{{- end }}
{{- end -}}

{{- define "modelyard.commonVolumes" -}}
- name: settings
  configMap: {name: {{ include "modelyard.fullname" . }}-settings}
- name: home
  emptyDir: {}
- name: tmp
  emptyDir: {}
{{- end -}}

{{- define "modelyard.commonMounts" -}}
- {name: settings, mountPath: /etc/modelyard/settings, readOnly: true}
- {name: home, mountPath: /srv/modelyard}
- {name: tmp, mountPath: /tmp}
{{- end -}}

{{/* An init container that waits for a database: (dict "root" $ "setting" "hub_database_url"). */}}
{{- define "modelyard.waitForDatabase" -}}
- name: database
  image: {{ .root.Values.images.hub }}
  imagePullPolicy: {{ .root.Values.images.pullPolicy }}
  command: [python, -m, modelyard_hub.prepare, database, {{ .setting }}]
  env: {{- include "modelyard.environment" .root | nindent 4 }}
  securityContext: {{- include "modelyard.containerSecurity" .root | nindent 4 }}
  resources:
    requests: {cpu: 50m, memory: 128Mi}
    limits: {memory: 256Mi}
  volumeMounts: {{- include "modelyard.commonMounts" .root | nindent 4 }}
{{- end -}}
