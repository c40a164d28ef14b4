import Contracts
import Foundation
import Governance
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import MLflowAPI
import Registry
import Storage
import Testing
import Tracking
import WebAPI

/// Puts the caller named by the header `x-persona` into the context, as the platform's authentication does.
private struct Personas: MiddlewareProtocol {
    func handle(_ request: Request, context: KeelContext, next: (Request, KeelContext) async throws -> Response) async throws -> Response {
        var context = context
        let header = HTTPField.Name("x-persona").flatMap { request.headers[$0] }
        if let persona = header.map({ Persona(rawValue: $0) }) ?? .owner {
            context.access = RequestAccess(caller: Caller(name: "ada", persona: persona)) { _, _, _ in }
        }
        return try await next(request, context)
    }
}

private struct FixedClock: Clock {
    func now() -> Timestamp { Timestamp(milliseconds: 1_700_000_000_123) }
}

private struct NoNetwork: WebhookSender {
    func check(url: String) async throws {}
    func post(_ body: String, headers: [(name: String, value: String)], to url: String) async throws -> WebhookAnswer {
        throw KeelError(.unavailable, "there is no network here")
    }
}

private func application() async throws -> some ApplicationProtocol {
    let folder = NSTemporaryDirectory() + "keel-mlflow-" + Identifier.hex32()
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let database = try Storage.Database(path: folder + "/keel.sqlite", clock: FixedClock())
    try await database.migrate(Ledger.migrations + TrackingTables.migrations + RegistryTables.migrations, backupFolder: folder + "/backups")
    let router = Router(context: KeelContext.self)
    router.add(middleware: Personas())
    addMLflowRoutes(
        to: APIRoutes(router), tracking: TrackingService(database: database, objects: try FolderObjectStore(root: folder + "/objects")),
        registry: RegistryService(database: database),
        webhooks: WebhookService(database: database, sender: NoNetwork(), secrets: try SecretBox(key: SecretBox.newKey())),
        workspaces: WorkspaceService(database: database, policy: AccessPolicy()))
    return Application(router: router)
}

extension TestClientProtocol {
    fileprivate func ask(
        _ method: HTTPRequest.Method, _ path: String, _ body: String? = nil, headers: HTTPFields = [:]
    ) async throws -> (status: Int, text: String, json: JSON) {
        var typed = headers
        typed[.contentType] = "application/json"
        return try await execute(uri: path, method: method, headers: typed, body: body.map { ByteBuffer(string: $0) }) { response in
            let text = String(buffer: response.body)
            return (response.status.code, text, (try? JSON.parse(text)) ?? .null)
        }
    }
}

/// Ids that are made up on each run become `RUN`.
private func golden(_ text: String, _ run: String) -> String { text.replacing(run, with: "RUN") }

@Suite("MLflow's protocol")
struct MLflowProtocolTests {
    @Test("a run goes over the wire as MLflow has it")
    func goldenRun() async throws {
        try await application().test(.router) { client in
            let created = try await client.ask(
                .post, "/api/2.0/mlflow/runs/create",
                #"{"experiment_id":"0","start_time":1700000000001,"run_name":"r","user_id":"ada","tags":[{"key":"team","value":"ops"}]}"#)
            let run = try #require(created.json["run"]?["info"]?["run_id"]?.string)
            let batch =
                #"{"run_id":"\#(run)","metrics":[{"key":"auc","value":0.75,"timestamp":1,"step":2},{"key":"n","value":"NaN","timestamp":"1"},{"key":"z","value":"Infinity","timestamp":1}],"params":[{"key":"p","value":"é\"\n"}]}"#
            #expect(try await client.ask(.post, "/ajax-api/2.0/mlflow/runs/log-batch", batch).text == "{}")
            let got = try await client.ask(.get, "/api/2.0/mlflow/runs/get?run_id=\(run)&run_uuid=\(run)")
            #expect(
                golden(got.text, run)
                    == #"{"run":{"info":{"run_uuid":"RUN","experiment_id":"0","run_name":"r","user_id":"ada","status":"RUNNING","start_time":1700000000001,"artifact_uri":"mlflow-artifacts:/0/RUN/artifacts","lifecycle_stage":"active","run_id":"RUN"},"data":{"metrics":[{"key":"auc","value":0.75,"timestamp":1,"step":2},{"key":"n","value":"NaN","timestamp":1,"step":0},{"key":"z","value":1.7976931348623157e+308,"timestamp":1,"step":0}],"params":[{"key":"p","value":"é\"\n"}],"tags":[{"key":"mlflow.runName","value":"r"},{"key":"team","value":"ops"}]},"inputs":{},"outputs":{}}}"#
            )
        }
    }

    @Test("a model version goes over the wire as MLflow has it")
    func goldenVersion() async throws {
        try await application().test(.router) { client in
            _ = try await client.ask(
                .post, "/api/2.0/mlflow/registered-models/create", #"{"name":"delay","tags":[{"key":"a","value":"b"}]}"#)
            let version = try await client.ask(.post, "/api/2.0/mlflow/model-versions/create", #"{"name":"delay","source":"s3://x"}"#)
            #expect(
                version.text
                    == #"{"model_version":{"name":"delay","version":"1","creation_timestamp":1700000000123,"last_updated_timestamp":1700000000123,"user_id":"ada","current_stage":"None","description":"","source":"s3://x","run_id":"","status":"READY","run_link":""}}"#
            )
            #expect(
                try await client.ask(
                    .post, "/api/2.0/mlflow/registered-models/alias", #"{"name":"delay","alias":"champion","version":"1"}"#
                ).text == "{}")
            let model = try await client.ask(.get, "/api/2.0/mlflow/registered-models/get?name=delay")
            #expect(!model.text.contains("null"))
            #expect(model.json["registered_model"]?["aliases"]?.text == #"[{"alias":"champion","version":"1"}]"#)
        }
    }

    @Test(
        "errors have MLflow's shape, code and status",
        arguments: [
            (
                "GET", "experiments/get-by-name?experiment_name=no+such%20one", "", 404, "RESOURCE_DOES_NOT_EXIST",
                "Could not find experiment with name 'no such one'"
            ),
            (
                "POST", "experiments/create", #"{"name":"Default"}"#, 400, "RESOURCE_ALREADY_EXISTS",
                "Experiment(name=Default) already exists."
            ),
            ("POST", "experiments/create", "{}", 400, "INVALID_PARAMETER_VALUE", "Missing value for required parameter 'name'"),
            ("POST", "experiments/create", #"{"name":7.5}"#, 400, "INVALID_PARAMETER_VALUE", "Invalid value 7.5 for parameter 'name'"),
            ("POST", "experiments/create", "[1", 400, "INVALID_PARAMETER_VALUE", "byte"),
            (
                "POST", "runs/search", #"{"experiment_ids":["0"],"filter":"colour = 'x'"}"#, 400, "INVALID_PARAMETER_VALUE",
                "Invalid attribute key"
            ),
            ("GET", "runs/get?run_id=abc", "", 404, "RESOURCE_DOES_NOT_EXIST", "Run with id=abc not found"),
            (
                "POST", "runs/search", #"{"experiment_ids":["0"],"max_results":50001}"#, 400, "INVALID_PARAMETER_VALUE",
                "Invalid value 50001 for parameter 'max_results'"
            ),
            ("GET", "registered-models/get?name=x", "", 404, "RESOURCE_DOES_NOT_EXIST", "Registered Model with name=x not found"),
            (
                "GET", "model-versions/get?name=x&version=a", "", 400, "INVALID_PARAMETER_VALUE",
                "Parameter 'version' must be an integer, got 'a'."
            ),
        ])
    func errors(method: String, path: String, body: String, status: Int, code: String, words: String) async throws {
        try await application().test(.router) { client in
            let answer = try await client.ask(method == "GET" ? .get : .post, "/api/2.0/mlflow/" + path, body.isEmpty ? nil : body)
            #expect(answer.status == status)
            #expect(answer.json["error_code"]?.string == code)
            #expect(answer.json["message"]?.string?.contains(words) == true, "\(answer.text)")
        }
    }

    @Test("without permission nothing is read or written, and the answer is MLflow's")
    func permissions() async throws {
        try await application().test(.router) { client in
            let persona = try #require(HTTPField.Name("x-persona"))
            let denied = try await client.ask(
                .post, "/api/2.0/mlflow/experiments/create", #"{"name":"x"}"#, headers: [persona: "risk-officer"])
            #expect(denied.status == 403 && denied.json["error_code"]?.string == "PERMISSION_DENIED")
            let read = try await client.ask(.get, "/api/2.0/mlflow/experiments/search", headers: [persona: "service"])
            #expect(read.status == 403)
            let nobody = try await client.ask(.put, "/api/2.0/mlflow-artifacts/artifacts/0/x", "data", headers: [persona: "nobody"])
            #expect(nobody.status == 401 && nobody.json["error_code"]?.string == "UNAUTHENTICATED")
            #expect(try await client.ask(.get, "/api/2.0/mlflow-artifacts/artifacts/0/x").status == 404)
        }
    }

    @Test("artifacts go through the proxy with their names as they are", arguments: ["model.bin", "dir/ü and + %.txt"])
    func proxy(name: String) async throws {
        try await application().test(.router) { client in
            let escaped = name.addingPercentEncoding(withAllowedCharacters: .alphanumerics.union(.init(charactersIn: "/."))) ?? name
            let base = "/api/2.0/mlflow-artifacts/artifacts"
            let content = String(repeating: "0123456789", count: 100_000)
            #expect(try await client.ask(.put, "\(base)/0/run/artifacts/\(escaped)", content).text == "{}")
            #expect(try await client.ask(.get, "\(base)/0/run/artifacts/\(escaped)").text == content)
            let folder = name.contains("/") ? "0/run/artifacts/dir" : "0/run/artifacts"
            let listed = try await client.ask(.get, "\(base)?path=\(folder)")
            #expect(!(try await client.ask(.get, "\(base)?path=0/run").text.contains("null")))
            #expect(listed.json["files"]?[0]?["path"]?.string == name.split(separator: "/").last.map(String.init))
            #expect(listed.json["files"]?[0]?["file_size"]?.integer == 1_000_000)
            #expect(try await client.ask(.get, "\(base)/0/run/%2e%2e/%2e%2e/x").status == 400)
            #expect(try await client.ask(.delete, "\(base)/0/run/artifacts/\(escaped)").text == "{}")
            #expect(try await client.ask(.get, "\(base)/0/run/artifacts/\(escaped)").status == 404)
        }
    }

    @Test("words of enumerations come as words or as protobuf's numbers, and nothing else is taken for one")
    func enumerations() async throws {
        try await application().test(.router) { client in
            func create(_ event: String, _ more: String = "") async throws -> (status: Int, text: String, json: JSON) {
                let body = #"{"name":"w","url":"https://x","events":[\#(event)]\#(more)}"#
                return try await client.ask(.post, "/api/2.0/mlflow/webhooks", body)
            }
            let named = try await create(#"{"entity":"MODEL_VERSION_TAG","action":"SET"}"#, #","status":"DISABLED""#)
            let numbered = try await create(#"{"entity":3,"action":"4"}"#, #","status":2"#)
            for answer in [named, numbered] {
                let webhook = try #require(answer.json["webhook"])
                #expect(webhook["events"] == [["entity": "MODEL_VERSION_TAG", "action": "SET"]] && webhook["status"] == "DISABLED")
            }
            let wrong = [
                #"{"entity":"model_version","action":"created"}"#, #"{"entity":11,"action":1}"#, #"{"entity":0,"action":1}"#,
                #"{"entity":"PROMPT"}"#, #"{"entity":-1,"action":1}"#, #"{"entity":1.5,"action":1}"#,
            ]
            for event in wrong { #expect(try await create(event).status == 400, "\(event)") }
            #expect(try await create("").text.contains("Webhook events must be a non-empty list"))
            let missing = try await client.ask(.post, "/api/2.0/mlflow/webhooks", #"{"name":"w","url":"https://x"}"#)
            #expect(missing.status == 400 && missing.text.contains("Missing value for required parameter 'events'"))
            let unknown = try await client.ask(.patch, "/api/2.0/mlflow/webhooks/nope", #"{"name":"not a name"}"#)
            #expect(unknown.status == 404 && unknown.text.contains("Webhook with ID nope not found."))
        }
    }

    @Test("clients find out what the server is")
    func discovery() async throws {
        try await application().test(.router) { client in
            #expect(try await client.ask(.get, "/version").text == "3.17.2")
            let info = try await client.ask(.get, "/api/3.0/mlflow/server-info").json
            #expect(info["workspaces_enabled"] == true && info["artifact_serving_enabled"] == true)
        }
    }
}

@Suite("Runs as bytes")
struct RunWriterTests {
    @Test("a search writes a run, byte for byte, as the route of one run does")
    func sameBytes() async throws {
        try await application().test(.router) { client in
            let api = "/api/2.0/mlflow"
            let made = try await client.ask(
                .post, api + "/runs/create",
                #"{"experiment_id":"0","start_time":5,"run_name":"n \"q\" \\ \n\t\u0001 🚀","tags":[{"key":"t","value":""}]}"#)
            let id = made.json["run"]?["info"]?["run_id"]?.string ?? ""
            for (path, body) in [
                (
                    "log-batch",
                    #"{"run_id":"\#(id)","metrics":[{"key":"a","value":0.1,"timestamp":0,"step":-7},{"key":"n","value":"NaN","timestamp":1},{"key":"i","value":"Infinity","timestamp":1},{"key":"s","value":-1e-300,"timestamp":1},{"key":"w","value":3,"timestamp":9007199254740}],"params":[{"key":"lr","value":"0.1"},{"key":"b","value":"ü"}]}"#
                ),
                (
                    "log-inputs",
                    #"{"run_id":"\#(id)","datasets":[{"tags":[{"key":"mlflow.data.context","value":"train"}],"dataset":{"name":"d","digest":"e","source_type":"s","source":"{}"}}],"models":[{"model_id":"m-1"}]}"#
                ),
                ("outputs", #"{"run_id":"\#(id)","models":[{"model_id":"m-2","step":4}]}"#),
                ("update", #"{"run_id":"\#(id)","status":"FINISHED","end_time":9}"#),
            ] {
                let answer = try await client.ask(.post, api + "/runs/" + path, body)
                #expect(answer.status == 200, "\(path): \(answer.text)")
            }
            let one = try await client.ask(.get, api + "/runs/get?run_id=" + id).text
            let found = try await client.ask(.post, api + "/runs/search", #"{"experiment_ids":["0"]}"#).text
            #expect("{\"runs\":[" + one.dropFirst(#"{"run":"#.count).dropLast() + "]}" == found)
            let none = try await client.ask(.post, api + "/runs/search", #"{"experiment_ids":["0"],"filter":"metrics.a > 9"}"#).text
            #expect(none == "{}")
        }
    }
}
