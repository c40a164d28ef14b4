import ArgumentParser
import Contracts
import Engines
import KeelClient
import NIOHTTP1
import WebAPI

struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say what is here and what is missing: engines, the server, and what is damaged in it.",
        discussion: """
            Every engine that is missing comes with the command that installs it. Exits with 1 when an engine is missing or the server holds something that
            is damaged; that no server runs is no fault. Run it on the server's machine: it also says when a setting of the system makes clients wait.
            With --deep the server instead reads all that it stores and compares it with the digests; only the result of that is shown.
            Examples:
              keel doctor --json
              keel doctor --deep
            """)
    @Flag(help: "Have the server compare all that it stores with its digests.") var deep = false
    @OptionGroup var connection: Connection

    func run() async throws {
        if deep { return try await DeepCheck.run(connection) }
        let engines = EngineReport.all()
        let pages = Server.consoleVendor()
        let pagesMend = pages == nil ? "install the console's libraries (htmx, ECharts) with scripts/bootstrap: without them pages show no charts" : nil
        let server = await ServerReport(connection)
        // Without a server, what one with the standard settings would need.
        let queueMax = ListenQueue.systemMax()
        let queue = ListenQueue.problem(systemMax: queueMax, connectionsMax: server.connectionsMax ?? ListenQueue.length)
        let answer: JSON = [
            "version": .string(KeelVersion.text),
            "engines": .array(
                engines.map { report in
                    [
                        "name": .string(report.name), "version": report.version.map(JSON.string) ?? .null,
                        "path": report.path.map(JSON.string) ?? .null, "mend": report.mend.map(JSON.string) ?? .null,
                    ]
                }), "console": ["path": pages.map(JSON.string) ?? .null, "mend": pagesMend.map(JSON.string) ?? .null], "server": server.json,
            "system": [
                [
                    "name": .string(ListenQueue.setting), "value": queueMax.map { JSON.int(Int64($0)) } ?? .null,
                    "problem": queue.map { JSON.string($0.message) } ?? .null, "mend": queue?.hint.map(JSON.string) ?? .null,
                ]
            ],
        ]
        connection.show(answer) { _ in
            Terminal.table(
                ["engine", "version", "found at"],
                engines.map { [$0.name, $0.version ?? "missing", $0.path ?? "-"] } + [["console", pages == nil ? "missing" : "", pages ?? "-"]])
            for mend in engines.compactMap(\.mend) + [pagesMend].compactMap({ $0 }) { Terminal.print("  \(mend)") }
            Terminal.print("")
            Terminal.table(["server", ""], server.lines)
            if !server.protections.isEmpty {
                Terminal.print("")
                Terminal.table(
                    ["code of models", "protected", "what it has"],
                    server.protections.map { [$0.cell("name"), $0["holds"]?.bool == true ? "yes" : "partly or not", $0.cell("how")] })
            }
            if let queue {
                Terminal.print("")
                Terminal.print(queue.message)
                if let mend = queue.hint { Terminal.print("  \(mend)") }
            }
            if !server.damage.isEmpty {
                Terminal.print("")
                Terminal.table(
                    ["damaged", "workspace", "what", "hint"],
                    server.damage.map { [$0.cell("subject"), $0.cell("workspace"), $0.cell("what"), $0.cell("hint")] })
            }
        }
        if engines.contains(where: { $0.mend != nil }) || !server.damage.isEmpty { throw ExitCode(1) }
    }
}

/// What a running server says of itself.
private struct ServerReport {
    let url: String
    /// Why it says nothing.
    var problem: String?
    var version: String?
    var damage: [JSON] = []
    /// Whether gRPC is answered at the same address; nil without a server.
    var answersGRPC: Bool?
    /// How many connections it takes at a time.
    var connectionsMax: Int?
    /// What `/metrics` says of the server's memory and its budget, and of the isolation of steps.
    var gauges: [(name: String, value: String)] = []
    /// What keeps code of models apart from the server.
    var protections: [JSON] = []

    init(_ connection: Connection) async {
        url = connection.url
        do {
            let client = try connection.client()
            version = try await client.json(.GET, "/v2")["version"]?.string
            answersGRPC = await client.answersHTTP2()
            // A server of an earlier version keeps no such list.
            do { damage = try await client.json(.GET, "/api/v1/damage")["damage"]?.items ?? [] } catch let error as KeelError
                where error.code == .notFound
            {}
            let metrics = try await client.send(.GET, "/metrics")
            let text = String(decoding: metrics.body, as: UTF8.self)
            gauges = ServerReport.gauges(text)
            protections = ServerReport.protections(text)
            let line = text.split(separator: "\n").first { $0.hasPrefix("keel_connections_max ") }
            connectionsMax = line?.split(separator: " ").last.flatMap { Double($0) }.map(Int.init(saturating:))
        } catch { problem = KeelError.wrapping(error).description }
    }

    var lines: [[String]] {
        [
            ["address", url], ["state", problem ?? "serves"], ["version", version ?? "-"],
            ["gRPC", answersGRPC.map { $0 ? "answers at the same address" : "does not answer: a proxy before the server may not pass HTTP/2 on" } ?? "-"],
            ["damaged", problem == nil ? "\(damage.count)" : "-"],
        ]
            + gauges.map { [$0.name, $0.value] }
    }

    var json: JSON {
        [
            "url": .string(url), "problem": problem.map(JSON.string) ?? .null, "version": version.map(JSON.string) ?? .null,
            "grpc": answersGRPC.map(JSON.bool) ?? .null, "damage": .array(damage), "gauges": .object(gauges.map { JSON.Member($0.name, .string($0.value)) }),
            "python": .array(protections),
        ]
    }

    private static func gauges(_ text: String) -> [(name: String, value: String)] {
        text.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ").map(String.init)
            guard words.count == 2, ["keel_memory_", "keel_steps_"].contains(where: words[0].hasPrefix) else { return nil }
            return (words[0], value(words[0], words[1]))
        }
    }

    /// `keel_python_protected{how="…",protection="…"} 1.0`: neither text holds a quote.
    private static func protections(_ text: String) -> [JSON] {
        text.split(separator: "\n").compactMap { line in
            guard line.hasPrefix("keel_python_protected{"), let value = line.split(separator: " ").last else { return nil }
            func label(_ name: String) -> String {
                guard let start = line.firstRange(of: name + "=\"")?.upperBound else { return "" }
                return String(line[start...].prefix { $0 != "\"" })
            }
            return ["name": .string(label("protection")), "holds": .bool(Double(value) == 1), "how": .string(label("how"))]
        }
    }

    private static func value(_ name: String, _ text: String) -> String {
        guard let number = Double(text) else { return text }
        return name.contains("_bytes") ? RunText.bytes(Int64(saturating: number)) : number.decimals(0)
    }
}
