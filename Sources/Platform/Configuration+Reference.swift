extension KeelConfiguration {
    /// Every setting for the reference, in the order of `settings`: its name, its default as it would be written, and what it does.
    public static var reference: [(key: String, standard: String, about: String)] {
        settings.map { setting in
            let standard =
                switch setting.standard {
                case .string(let text): text.isEmpty ? "none" : text
                case .int(let number): String(number)
                case .double(let number): "\(number)"
                case .bool(let flag): flag ? "true" : "false"
                case .stringArray(let texts): "[\(texts.joined(separator: ", "))]"
                default: "\(setting.standard)"
                }
            return (setting.key, standard, about[setting.key] ?? "")
        }
    }

    /// A sentence for each setting; a test names the setting that has none.
    package static let about: [String: String] = [
        "home": "The folder that holds everything the server keeps.",
        "listen": "HOST:PORT. On an address that other machines can reach, the server starts only when a token exists.",
        "hosts": "Names that the `Host` header may carry besides the loopback names and the listening address.",
        "public.url":
            "Where programs that the server runs reach it, such as the name on its certificate; `http(s)://HOST:PORT` unless given. `KEEL_URL` is read by clients only.",
        "auth.local":
            "`on`: programs of the server's own user on this machine need no token; `off`: everyone does, as is right behind a proxy.",
        "auth.refusals": "Refused requests of one address at once before it is told to wait; it gains one a second.",
        "connections.max": "Connections at a time.",
        "connections.client": "Connections at a time from one address.",
        "memory.budget": "What requests, queries, ingest and answers may hold in memory: `2GiB`; a quarter of the machine's unless given.",
        "tls.certificate": "The server's certificate chain, a PEM file, read again when it changes; plain HTTP unless given.",
        "tls.key": "The certificate's key, a PEM file without a passphrase.",
        "tls.authorities": "A PEM file of authorities: when given, every client must show a certificate of one of them.",
        "limits.body": "Bytes of a file that is ingested.",
        "limits.artifact": "Bytes of one artifact.",
        "pipelines.steps": "Steps of pipelines that run at one time.",
        "pipelines.sandbox": "How programs of steps are kept apart from the server: `auto`, `bwrap`, `user` or `none`; docs/steps.md.",
        "pipelines.user": "The user that programs of steps run as, when the server is root; `nobody` unless given, inside the sandbox.",
        "log.level": "`trace`, `debug`, `info`, `notice`, `warning`, `error` or `critical`.",
        "webhooks.schemes": "The schemes that webhooks may have; `http` is for tests and laptops.",
        "webhooks.internal": "Whether webhooks may reach loopback and private addresses; for tests and laptops.",
        "outgoing.authorities": "A PEM file of authorities that are trusted besides the system's, in all calls that the server makes.",
        "oidc.schemes": "The schemes that addresses of issuers may have; `http` is for tests and laptops.",
        "oidc.internal": "Whether issuers may be at loopback and private addresses, as that of a Kubernetes cluster is.",
        "oidc.issuers.NAME.url":
            "An identity provider whose tokens are taken, by the `iss` of its tokens; docs/access.md. NAME goes before the names of its people, jobs and groups.",
        "oidc.issuers.NAME.audience": "What its tokens must be for: one of these must be in `aud`.",
        "oidc.issuers.NAME.groups": "The claim that lists groups, or the way to it: `realm_access.roles`.",
        "oidc.issuers.NAME.age": "How old a token with groups may be: so long can somebody who lost a group keep what it gave.",
        "oidc.issuers.NAME.skew": "How far its clock may be from the server's.",
        "oidc.issuers.NAME.workspace": "The workspace of its people and jobs, unless a request names another.",
        "oidc.issuers.NAME.algorithms": "How its tokens may be signed.",
        "registry.protected": "Aliases of models that only those who may release can move or remove.",
        "serving.threads": "Threads that large requests are read on, and that one ONNX model runs on; 0 means one for each core.",
        "serving.python.code": "Whether models may bring Python code, which runs apart from the server: `allowed` or `refused`.",
        "serving.python.workers": "Processes of each model that brings Python code.",
        "serving.python.memory": "What one such process may take with all that it starts: `2GiB`.",
        "serving.python.network": "Whether code of models may reach the network.",
        "serving.python.users":
            "Where the server is root, each process of a model has a user of its own: `auto`: of a range that is nobody's, unless `pipelines.user` names one for all; `off`; or the first of 65,536 users.",
        "serving.python.interpreter": "The Python that environments of models are made from; without it, one of the machine of the version that a model asks for.",
        "serving.python.environment": "The interpreter of an environment that all models run in as it is; none is made then.",
        "serving.python.index": "The package index that environments are made from; without it, the tool's own choice.",
        "serving.python.wheels": "A folder of wheels: environments are made of these alone, without a network.",
        "serving.python.sources": "Whether packages may be built from their sources, which runs their code.",
        "serving.python.versions": "`same`: a model runs on the minor version of Python that it was logged with; `any`: also on another one, with a warning.",
        "serving.remote.schemes": "The schemes that servers of remote models may have; `http` is for networks that are trusted.",
        "serving.remote.internal": "Whether servers of remote models may be at loopback and private addresses, as a GPU server in the same network is.",
        "serving.remote.secrets": "A folder with a file for each secret that remote models are asked with; docs/serving.md.",
        "tracing.otlp.endpoint":
            "The base address of a collector of traces over OTLP/HTTP, as `https://collector:4318`; nothing is recorded without it. docs/operations.md.",
        "tracing.otlp.headers": "Sent with traces: `NAME=env:VARIABLE` or `NAME=file:PATH`, where the value is.",
        "tracing.otlp.schemes": "The schemes that the collector's address may have; `http` is for one on this machine.",
        "tracing.otlp.internal": "Whether the collector may be at a loopback or private address.",
        "tracing.sampling.ratio":
            "The share of requests that begin a trace, such as `0.1` or `10%`, of those that say nothing of one in `traceparent`.",
        "tracing.service": "`service.name` of the traces.",
        "features.checkpoint":
            "Bytes of events that are pushed to a dataset before its online features are written to the disk again: what a start after a crash reads.",
        "predictions.export":
            "How long logged predictions wait for more before they are written to a file in the lake, such as `5m`; 5000 of a release wait no longer.",
        "shutdown.deadline": "How long a stop may take, such as `10s`. What could not be written by then is named in the log.",
    ]
}
