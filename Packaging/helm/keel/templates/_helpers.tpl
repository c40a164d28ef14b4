{{- define "keel.name" -}}
{{- if contains "keel" .Release.Name }}{{ .Release.Name | trunc 50 }}{{ else }}{{ printf "%s-keel" .Release.Name | trunc 50 }}{{ end }}
{{- end }}

{{- define "keel.selector" -}}
app.kubernetes.io/name: keel
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "keel.labels" -}}
{{ include "keel.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "keel.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "keel.container" -}}
image: {{ include "keel.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: { drop: [ALL] }
volumeMounts:
  - { name: home, mountPath: /var/lib/keel }
  - { name: tmp, mountPath: /tmp }
  - { name: settings, mountPath: /etc/keel, readOnly: true }
{{- with .Values.tls.secret }}
  - { name: tls, mountPath: /etc/keel-tls, readOnly: true }
{{- end }}
{{- end }}

{{- define "keel.probe" -}}
httpGet:
  path: /health
  port: http
  scheme: {{ if .Values.tls.secret }}HTTPS{{ else }}HTTP{{ end }}
  # The server answers to the names in `hosts` alone, and the kubelet asks by the pod's address.
  httpHeaders: [{ name: Host, value: localhost }]
{{- end }}
