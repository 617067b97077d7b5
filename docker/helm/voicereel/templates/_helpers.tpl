{{- define "voicereel.labels" -}}
app.kubernetes.io/name: voicereel
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{/* What a pod's version and configuration are: it is replaced when they change. */}}
{{- define "voicereel.annotations" -}}
voicereel/settings: {{ toJson .Values.settings | sha256sum }}
{{- end }}

{{- define "voicereel.image" -}}
{{ .root.Values.image.registry }}voicereel-{{ .image }}:{{ required "image.tag: which VERSION?" .root.Values.image.tag }}
{{- end }}

{{- define "voicereel.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "voicereel.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/*
A pod's spec. root; name; image: web or worker; login: whose DATABASE_URL; command: a list; resources;
graceS; and, of workers, gpus, settings, weights, nodeSelector, tolerations. isJob: it ends by itself.
*/}}
{{- define "voicereel.pod" -}}
{{- $root := .root }}
{{- if not .isJob }}
serviceAccountName: voicereel
{{- end }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- include "voicereel.podSecurity" . | nindent 2 }}
terminationGracePeriodSeconds: {{ .graceS }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .isJob }}
restartPolicy: Never
{{- else }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "voicereel.labels" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: {{ .name }}
    image: {{ include "voicereel.image" . }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args: {{ toJson .command }}
    envFrom:
      - configMapRef: {name: {{ ternary "voicereel-migrate" "voicereel" (hasKey . "isJob") }}}
    env:
      - {name: DATABASE_URL_FILE, value: /run/secrets/database_url_{{ .login }}}
      {{- range $setting, $file := $root.Values.secrets.files }}
      - {name: {{ $setting }}_FILE, value: /run/secrets/{{ $file }}}
      {{- end }}
      {{- range $setting, $value := .settings }}
      - {name: {{ $setting }}, value: {{ quote $value }}}
      {{- end }}
    {{- if not .isJob }}
    ports:
      {{- if .port }}
      - {name: http, containerPort: {{ .port }}}
      {{- end }}
      - {name: metrics, containerPort: 9100}
    startupProbe:
      httpGet: {path: /healthz, port: metrics}
      periodSeconds: 5
      failureThreshold: {{ ternary 120 24 (gt (int .gpus) 0) }}
    livenessProbe:
      httpGet: {path: /healthz, port: metrics}
      periodSeconds: 10
      timeoutSeconds: 5
    readinessProbe:
      httpGet: {path: /readyz, port: metrics}
      periodSeconds: 5
      timeoutSeconds: 5
    {{- if .port }}
    # Until nobody is sent here any more.
    lifecycle:
      preStop: {exec: {command: [sleep, "5"]}}
    {{- end }}
    {{- end }}
    resources:
      {{- $resources := deepCopy .resources }}
      {{- if gt (int .gpus) 0 }}
      {{- $_ := set $resources.limits "nvidia.com/gpu" (int .gpus) }}
      {{- end }}
      {{- toYaml $resources | nindent 6 }}
    securityContext:
      {{- include "voicereel.containerSecurity" . | nindent 6 }}
    volumeMounts:
      - {name: scratch, mountPath: /var/lib/voicereel}
      - {name: tmp, mountPath: /tmp}
      - {name: secrets, mountPath: /run/secrets, readOnly: true}
      {{- if .weights }}
      - {name: weights, mountPath: /models/fish-speech-1.5, readOnly: true}
      {{- end }}
volumes:
  - {name: scratch, emptyDir: {sizeLimit: {{ $root.Values.scratch.sizeLimit }}}}
  - {name: tmp, emptyDir: {sizeLimit: {{ $root.Values.scratch.sizeLimit }}}}
  - {name: secrets, secret: {secretName: {{ $root.Values.secrets.name }}, defaultMode: 288}}
  {{- if .weights }}
  - name: weights
    persistentVolumeClaim:
      claimName: {{ required "weights.claimName: where are the weights of fish-speech 1.5?" $root.Values.weights.claimName }}
      readOnly: true
  {{- end }}
{{- end }}

{{/* A Deployment around it. replicas: none where something else decides; strategy: of its updates. */}}
{{- define "voicereel.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  labels:
    {{- include "voicereel.labels" . | nindent 4 }}
spec:
  {{- if hasKey . "replicas" }}
  replicas: {{ .replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy:
    {{- if .isAlone }}
    type: Recreate
    {{- else }}
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
    {{- end }}
  selector:
    matchLabels:
      {{- include "voicereel.labels" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "voicereel.labels" . | nindent 8 }}
      annotations:
        {{- include "voicereel.annotations" .root | nindent 8 }}
    spec:
      {{- include "voicereel.pod" . | nindent 6 }}
{{- end }}
