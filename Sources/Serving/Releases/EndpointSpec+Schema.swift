import Contracts

extension EndpointSpec {
    public static let schema = KindSchema(
        "Endpoint", "A name that serves traffic in one environment. One row of a request counts as one request everywhere in a rollout.",
        hasEnvironment: true,
        [
            FieldSchema(
                "model", .text,
                """
                The registered version that is deployed when the declaration is new or has changed, as `models:/NAME/VERSION` or `models:/NAME@ALIAS`. Left \
                out, pipelines and `keel deploy` release to the endpoint.
                """),
            FieldSchema("before", .texts, "Versions that answer before the model, as one release with it: the model takes what they give (docs/serving.md)."),
            FieldSchema("after", .texts, "Versions that answer after it; the last one gives the answer."),
            FieldSchema("remote", .object(remoteFields), "A model or adapter of another server, in place of `model` (docs/serving.md)."),
            FieldSchema(
                "features", .text, "The feature service that completes requests. Without it a request carries all inputs of the model."),
            FieldSchema("rollout", .object(rolloutFields), "How a new release comes to take the traffic. Left out, it does at once."),
            FieldSchema(
                "log",
                .object([
                    FieldSchema("sample", .share, default: "100%", "The share of predictions that are logged."),
                    FieldSchema(
                        "whenFull", .word(LogPolicy.Overflow.allCases.map(\.rawValue)), default: "block",
                        """
                        What happens when the log cannot keep up: the request is refused at once, ever fewer are logged, or what does not fit is \
                        left out. What is left out is counted.
                        """),
                    FieldSchema(
                        "durability", .word(LogPolicy.Durability.allCases.map(\.rawValue)), default: "buffered",
                        """
                        When a prediction is answered: with `buffered` once the operating system has its record, so that a killed server loses nothing and \
                        a power cut at most 100 ms; with `acknowledged` once the record is on the disk.
                        """),
                ]), "The prediction log."),
            FieldSchema(
                "label",
                .object([
                    FieldSchema(
                        "within", .span, required: true,
                        "How long after its prediction's event time a label may become known. A later one is refused.")
                ]), default: "labels are taken whenever they come", "The truth that arrives later."),
            FieldSchema(
                "limits",
                .object([
                    FieldSchema("rows", .integer, default: "10000", "Rows in one request."),
                    FieldSchema("queue", .integer, default: "256", "Requests in flight at once; more are refused with 503."),
                    FieldSchema("bodyBytes", .integer, default: "16777216", "Bytes of a request's body."),
                    FieldSchema(
                        "deadline", .span, default: "10s",
                        "How long a request may take that a model holds up; then it is answered with 504 and the model is ended. At most 1h."
                    ),
                ]), "Bounds on what is accepted."),
            FieldSchema(
                "gate", .word(EndpointSpec.GateRule.allCases.map(\.rawValue)), default: "required",
                """
                Whether a release needs a gate that passed. With `optional` whoever may deploy may deploy a model that no gate judged, and the release says so; \
                one that a gate refused takes `releases.force` all the same. Changing it to `optional` takes `releases.force`.
                """),
            FieldSchema(
                "approval", .word(EndpointSpec.Approval.allCases.map(\.rawValue)), default: "optional",
                "Whether a release needs an approval of its version (`keel approve`), besides its gate. Changing it to `optional` takes `releases.force`."),
            FieldSchema(
                "signature", .word(EndpointSpec.SignatureRule.allCases.map(\.rawValue)), default: "compatible",
                """
                Whether a release may take or give something that callers of the one before it would notice: an input more, one of another type, an output \
                that is gone. With `compatible` it is refused.
                """),
        ])

    private static let remoteFields: [FieldSchema] = [
        FieldSchema(
            "url", .text, required: true,
            "The server: what stands before `/v2` of the Open Inference Protocol, or what clients of OpenAI's API call `base_url`."),
        FieldSchema("protocol", .word(RemoteModel.WireProtocol.allCases.map(\.rawValue)), required: true, "How the server is asked."),
        FieldSchema("model", .text, required: true, "The name of the model or adapter there."),
        FieldSchema("version", .text, default: "the server's choice", "Its version there; `open-inference` alone."),
        FieldSchema("task", .word(RemoteModel.Task.allCases.map(\.rawValue)), default: "chat", "What is asked for; `openai` alone."),
        FieldSchema(
            "input", .word(RemoteModel.Prompt.allCases.map(\.rawValue)), default: "prompt",
            "The column that requests have: the user's text, or a list of messages in JSON; `openai` alone."),
        FieldSchema("parameters", .map(.any), "What is sent with every request unless the caller sets it, such as `temperature` or `max_tokens`."),
        FieldSchema("secret", .text, "The name of the key that the server is shown: a file in the folder `serving.remote.secrets`."),
        FieldSchema("concurrency", .integer, default: "8", "Requests to the server at one time."),
        FieldSchema("inputs", .list(.object(columnFields)), "What it takes, where the server does not say so, or to be held against what it says."),
        FieldSchema("outputs", .list(.object(columnFields)), "What it gives, or those of its outputs that are wanted."),
        FieldSchema("example", .list(.map(.any)), "Rows that it must answer before it takes traffic."),
    ]

    private static let columnFields: [FieldSchema] = [
        FieldSchema("name", .text, required: true, "The name of the tensor."),
        FieldSchema("type", .text, required: true, "Of one row: `float32`, `string`, `tensor<float32, 3x224x224>`."),
    ]

    private static let rolloutFields: [FieldSchema] = [
        FieldSchema(
            "shadow",
            .object([
                FieldSchema(
                    "requests", .integer, required: true, "How many requests it must have answered unseen before it answers callers.")
            ]), default: "no shadow phase", "The candidate scores requests beside the release that answers them."),
        FieldSchema(
            "canary",
            .object([
                FieldSchema("shares", .list(.share), required: true, "The candidate's share of requests in each step, rising."),
                FieldSchema(
                    "every", .object([FieldSchema("requests", .integer, default: "1000", "Requests of the endpoint in each step.")]),
                    "How long a step is."),
            ]), default: "no canary phase", "The candidate answers a rising share of requests."),
        FieldSchema(
            "rollbackWhen", .texts,
            "Conditions over the candidate and `incumbent.…`; when one is true the candidate is taken back: `errors > 1%`."),
        FieldSchema(
            "minimum",
            .object([
                FieldSchema(
                    "requests", .integer, default: "100", "Requests before errors, latency and scores count as evidence."),
                FieldSchema("labels", .integer, default: "200", "Labelled requests before log loss and AUC count as evidence."),
            ]), "How much evidence a condition needs."),
    ]
}
