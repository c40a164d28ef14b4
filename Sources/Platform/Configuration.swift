import Configuration
import Contracts
import Foundation
import Pipelines
import Yams

/// What a server is told from outside: a file, the environment (`KEEL_…`), and the arguments of `keel serve`, the later winning.
public struct KeelConfiguration: Sendable {
    /// The folder that holds everything the server keeps; an absolute path.
    public var home: String
    public var host: String
    public var port: Int
    /// Names that the `Host` header may carry besides the loopback names and the listening address.
    public var hosts: [String]
    /// Whether the person at the machine needs no token (`auth.local: on`). Turn it off when a proxy runs on the same machine.
    public var trustsLocalOwner: Bool
    /// How many requests without a valid token a client may send at once before it is told to wait; it gains one a second.
    public var refusalsMax: Int
    /// How many connections there may be at a time.
    public var connectionsMax: Int
    /// How many of them from one address.
    public var clientConnectionsMax: Int
    /// What the server may hold in memory for its work: `2GiB`, `512MiB` or bytes; a quarter of the machine's unless given.
    public var memoryBytes: Int
    /// The server's certificate and key; nil for plain HTTP.
    public var tls: TLSFiles?
    /// Where programs that the server runs reach it: the name on its certificate. `http(s)://HOST:PORT` unless given.
    public var programURL: String?
    public var bodyBytesMax: Int
    /// How large one artifact may be.
    public var artifactBytesMax: Int
    /// How many steps of pipelines run at one time.
    public var stepsMax: Int
    /// How programs of steps are kept apart from the server: `auto`, `bwrap`, `user` or `none` (docs/steps.md).
    public var stepsSandbox: StepIsolation.Setting
    /// The user of this machine that programs of steps run as, when the server is root; without one `nobody`, inside the sandbox.
    public var stepsUser: String?
    /// The schemes that webhooks may have: `https`, unless `http` is allowed for tests and laptops.
    public var webhookSchemes: [String]
    /// Whether webhooks may reach loopback and private addresses: for tests and laptops.
    public var webhooksInternal: Bool
    /// A PEM file of authorities whose certificates are trusted besides the system's, in all calls that the server makes.
    public var outgoingAuthorities: String?
    /// How many models that need a thread of their own (ONNX) run at one time; 0: as many as the machine has cores.
    public var modelThreads: Int
    /// How many bytes of events are pushed to a dataset before its online features are written to the disk again.
    public var checkpointBytes: Int
    /// How long a stop may take, such as `10s`; what is not written then is said, and the process ends.
    public var shutdownDeadline: TimeSpan
    /// Aliases of models that only who may release moves or removes.
    public var protectedAliases: [String]
    public var logLevel: String

    /// Every setting, with its default: the file may hold these, `KEEL_` and the name in capitals with `_` for `.` is its variable.
    package static let settings: [(key: String, standard: ConfigContent)] = [
        ("home", .string(".keel")), ("listen", .string("127.0.0.1:7070")), ("hosts", .stringArray([])), ("url", .string("")),
        ("auth.local", .string("on")), ("auth.refusals", .int(10)), ("connections.max", .int(4096)), ("connections.client", .int(1024)),
        ("memory.budget", .string("")), ("tls.certificate", .string("")), ("tls.key", .string("")), ("tls.authorities", .string("")),
        ("limits.body", .int(256 << 20)), ("limits.artifact", .int(100 << 30)), ("pipelines.steps", .int(2)),
        ("pipelines.sandbox", .string("auto")), ("pipelines.user", .string("")),
        ("log.level", .string("info")),
        ("webhooks.schemes", .stringArray(["https"])), ("webhooks.internal", .bool(false)),
        ("outgoing.authorities", .string("")), ("registry.protected", .stringArray(["champion"])),
        ("serving.threads", .int(0)), ("features.checkpoint", .int(8 << 20)), ("shutdown.deadline", .string("10s")),
    ]

    /// - Parameter overrides: what arguments said, by setting.
    /// - Throws: an error that names the setting and the nearest known one.
    public static func load(file: String?, environment: [String: String], overrides: [String: String]) throws(KeelError)
        -> KeelConfiguration
    {
        var providers: [any ConfigProvider] = [
            InMemoryProvider(
                name: "arguments",
                values: Dictionary(
                    uniqueKeysWithValues: overrides.map {
                        (AbsoluteConfigKey($0.key.split(separator: ".").map(String.init)), ConfigValue(.string($0.value), isSecret: false))
                    })),
            EnvironmentVariablesProvider(environmentVariables: environment).prefixKeys(with: "keel"),
        ]
        if let file { providers.append(InMemoryProvider(name: file, values: try values(of: file))) }
        try checkTypes(environment, overrides)
        let reader = ConfigReader(providers: providers)
        let listen = reader.string(forKey: "listen", default: "127.0.0.1:7070")
        guard let colon = listen.lastIndex(of: ":"), let port = Int(listen[listen.index(after: colon)...]), (0...65535).contains(port)
        else {
            throw .invalid("'\(listen)' is not HOST:PORT", path: "listen")
        }
        let level = reader.string(forKey: "log.level", default: "info")
        let levels = ["trace", "debug", "info", "notice", "warning", "error", "critical"]
        guard levels.contains(level) else {
            throw .invalid("'\(level)' is not a log level", hint: "one of \(levels.joined(separator: ", "))", path: "log.level")
        }
        let deadline = reader.string(forKey: "shutdown.deadline", default: "10s")
        guard let shutdownDeadline = TimeSpan(deadline), shutdownDeadline <= .hours(1) else {
            throw .invalid("'\(deadline.prefix(40))' is not a length of time up to 1h, such as 10s", path: "shutdown.deadline")
        }
        let modelThreads = reader.int(forKey: "serving.threads", default: 0)
        guard (0...1024).contains(modelThreads) else { throw .invalid("must be from 0 to 1024", path: "serving.threads") }
        let sandbox = reader.string(forKey: "pipelines.sandbox", default: "auto")
        guard let stepsSandbox = StepIsolation.Setting(rawValue: sandbox) else {
            throw .invalid(
                "'\(sandbox)' is no way to isolate steps",
                hint: "one of \(StepIsolation.Setting.allCases.map(\.rawValue).joined(separator: ", "))",
                path: "pipelines.sandbox")
        }
        return KeelConfiguration(
            home: absolute(reader.string(forKey: "home", default: ".keel")), host: String(listen[..<colon]), port: port,
            hosts: reader.stringArray(forKey: "hosts", default: []), trustsLocalOwner: try isOn(reader, "auth.local"),
            refusalsMax: max(1, reader.int(forKey: "auth.refusals", default: 10)),
            connectionsMax: max(1, reader.int(forKey: "connections.max", default: 4096)),
            clientConnectionsMax: max(1, reader.int(forKey: "connections.client", default: 1024)),
            memoryBytes: try memoryBytes(reader), tls: try tls(reader), programURL: text(reader, "url"),
            bodyBytesMax: reader.int(forKey: "limits.body", default: 256 << 20),
            artifactBytesMax: reader.int(forKey: "limits.artifact", default: 100 << 30),
            stepsMax: max(1, reader.int(forKey: "pipelines.steps", default: 2)),
            stepsSandbox: stepsSandbox,
            stepsUser: text(reader, "pipelines.user"),
            webhookSchemes: reader.stringArray(forKey: "webhooks.schemes", default: ["https"]),
            webhooksInternal: reader.bool(forKey: "webhooks.internal", default: false),
            outgoingAuthorities: text(reader, "outgoing.authorities"),
            modelThreads: modelThreads, checkpointBytes: max(1, reader.int(forKey: "features.checkpoint", default: 8 << 20)),
            shutdownDeadline: shutdownDeadline,
            protectedAliases: reader.stringArray(forKey: "registry.protected", default: ["champion"]), logLevel: level)
    }

    /// The home as programs in other folders see it: a relative path begins where the server was started.
    private static func absolute(_ home: String) -> String {
        URL(fileURLWithPath: home, relativeTo: URL(fileURLWithPath: FileManager.default.currentDirectoryPath)).standardizedFileURL.path
    }

    /// A text that is given and not empty.
    private static func text(_ reader: ConfigReader, _ key: String) -> String? {
        reader.string(forKey: ConfigKey(key)).flatMap { $0.isEmpty ? nil : $0 }
    }

    /// YAML reads `on` and `off` as words of its own: both spellings are taken.
    private static func isOn(_ reader: ConfigReader, _ key: String) throws(KeelError) -> Bool {
        switch text(reader, key) ?? "on" {
        case "on", "true": return true
        case "off", "false": return false
        case let other: throw .invalid("'\(other)' is not on or off", path: key)
        }
    }

    private static func memoryBytes(_ reader: ConfigReader) throws(KeelError) -> Int {
        guard let text = text(reader, "memory.budget") else { return MachineMemory.standardBudget }
        guard let bytes = MachineMemory.bytes(text), bytes >= MemoryBudget.bytesMin else {
            throw .invalid(
                "'\(text)' is not a size of at least \(MemoryBudget.bytesMin >> 20) MiB", hint: "such as 2GiB", path: "memory.budget")
        }
        return bytes
    }

    private static func tls(_ reader: ConfigReader) throws(KeelError) -> TLSFiles? {
        switch (text(reader, "tls.certificate"), text(reader, "tls.key"), text(reader, "tls.authorities")) {
        case (nil, nil, nil): return nil
        case (let certificate?, let key?, let authorities):
            return TLSFiles(certificate: certificate, key: key, authorities: authorities)
        case (nil, _, _): throw .invalid("TLS needs a certificate as well", path: "tls.certificate")
        case (_, nil, _): throw .invalid("TLS needs the certificate's key as well", path: "tls.key")
        }
    }

    /// A variable or argument that cannot be read as its setting's type must not quietly become the default.
    private static func checkTypes(_ environment: [String: String], _ overrides: [String: String]) throws(KeelError) {
        // Who asked for a token from everyone under the setting's old name must not get a server that asks for none.
        guard environment["KEEL_AUTH_REQUIRED"] == nil else {
            throw .invalid("this setting is auth.local now", hint: "KEEL_AUTH_LOCAL=off asks everyone for a token", path: "KEEL_AUTH_REQUIRED")
        }
        for (key, standard) in settings {
            let variable = "KEEL_" + key.uppercased().replacing(".", with: "_")
            guard let text = overrides[key] ?? environment[variable] else { continue }
            switch standard {
            case .int where Int(text) == nil: throw .invalid("'\(text)' is not a whole number", path: variable)
            case .bool where !["true", "false"].contains(text): throw .invalid("'\(text)' is not true or false", path: variable)
            default: continue
            }
        }
    }

    /// Where programs on this machine reach the server.
    public var url: String {
        programURL ?? "\(tls == nil ? "http" : "https")://\(isLoopback || host == "0.0.0.0" ? "127.0.0.1" : host):\(port)"
    }

    /// Whether the server can only be reached from this machine.
    public var isLoopback: Bool { host == "127.0.0.1" || host == "localhost" || host == "::1" || host == "[::1]" }

    /// The settings of a YAML file, flat; one that is not known is refused.
    private static func values(of file: String) throws(KeelError) -> [AbsoluteConfigKey: ConfigValue] {
        guard let data = FileManager.default.contents(atPath: file), let text = String(data: data, encoding: .utf8) else {
            throw .notFound("there is no configuration file '\(file)'")
        }
        let root: Node?
        do { root = try Yams.compose(yaml: text) } catch { throw .invalid("is not valid YAML: \(error)", path: file) }
        var out: [AbsoluteConfigKey: ConfigValue] = [:]
        func walk(_ node: Node, _ path: [String]) throws(KeelError) {
            if let mapping = node.mapping {
                for (key, value) in mapping { try walk(value, path + [key.scalar?.string ?? ""]) }
                return
            }
            let name = path.joined(separator: ".")
            guard let setting = settings.first(where: { $0.key == name }) else {
                throw .invalid(
                    "unknown setting '\(name)'", hint: nearest(name, in: settings.map(\.key)).map { "did you mean '\($0)'?" },
                    path: "\(file):\(node.mark?.line ?? 1)")
            }
            let content: ConfigContent?
            switch setting.standard {
            case .string: content = node.scalar.map { .string($0.string) }
            case .int: content = node.int.map { .int($0) }
            case .bool: content = node.bool.map { .bool($0) }
            default: content = node.sequence.map { .stringArray($0.compactMap(\.scalar?.string)) }
            }
            guard let content else {
                throw .invalid("'\(name)' has a value of another type than \(setting.standard)", path: "\(file):\(node.mark?.line ?? 1)")
            }
            out[AbsoluteConfigKey(path)] = ConfigValue(content, isSecret: false)
        }
        if let root { try walk(root, []) }
        return out
    }
}
