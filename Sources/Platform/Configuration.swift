import Configuration
import Contracts
import Engines
import Foundation
import OpenIDConnect
import Pipelines
import Serving
import TraceExport
import Workers
import Yams

/// The settings of a server, from a file, the environment (`KEEL_…`) and the arguments of `keel serve`. The later of these wins.
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
    public var stepsSandbox: ProgramIsolation.Setting
    /// The user of this machine that programs of steps run as, when the server is root; without one `nobody`, inside the sandbox.
    public var stepsUser: String?
    /// The schemes that webhooks may have: `https`, unless `http` is allowed for tests and laptops.
    public var webhookSchemes: [String]
    /// Whether webhooks may reach loopback and private addresses: for tests and laptops.
    public var webhooksInternal: Bool
    /// A PEM file of authorities whose certificates are trusted besides the system's, in all calls that the server makes.
    public var outgoingAuthorities: String?
    /// The identity providers whose tokens are taken.
    public var issuers: [OpenIDIssuer]
    /// The schemes that addresses of issuers may have: `https`, unless `http` is allowed for tests and laptops.
    public var issuerSchemes: [String]
    /// Whether issuers may be at loopback and private addresses.
    public var issuersInternal: Bool
    /// Where traces of requests go; nil when nobody wants them.
    public var tracing: TraceSettings?
    /// How many models that need a thread of their own (ONNX) run at one time; 0: as many as the machine has cores.
    public var modelThreads: Int
    /// How models that bring Python code run.
    public var pythonModels: PythonModels.Settings
    /// Whether each process of such a model has a user of its own, where the server is root, and which.
    public var pythonUsers: ProgramUsers.Choice
    /// The schemes that models of other servers may have: `https`, unless `http` is allowed.
    public var remoteSchemes: [String]
    /// Whether models of other servers may be at loopback and private addresses.
    public var remotesInternal: Bool
    /// The folder of the secrets that models of other servers are asked with; an absolute path.
    public var remoteSecrets: String?
    /// How many bytes of events are pushed to a dataset before its online features are written to the disk again.
    public var checkpointBytes: Int
    /// How long logged predictions wait for more before they are written to the lake.
    public var predictionsExport: TimeSpan
    /// How long a stop may take, such as `10s`. The process ends then, and the log names what could not be written.
    public var shutdownDeadline: TimeSpan
    /// Aliases of models that only those who may release can move or remove.
    public var protectedAliases: [String]
    public var logLevel: String

    /// Every setting, with its default: the file may hold these, `KEEL_` and the name in capitals with `_` for `.` is its variable.
    package static let settings: [(key: String, standard: ConfigContent)] = [
        ("home", .string(".keel")), ("listen", .string("127.0.0.1:7070")), ("hosts", .stringArray([])), ("public.url", .string("")),
        ("auth.local", .string("on")), ("auth.refusals", .int(10)), ("connections.max", .int(4096)), ("connections.client", .int(1024)),
        ("memory.budget", .string("")), ("tls.certificate", .string("")), ("tls.key", .string("")), ("tls.authorities", .string("")),
        ("limits.body", .int(256 << 20)), ("limits.artifact", .int(100 << 30)), ("pipelines.steps", .int(2)),
        ("pipelines.sandbox", .string("auto")), ("pipelines.user", .string("")),
        ("log.level", .string("info")),
        ("webhooks.schemes", .stringArray(["https"])), ("webhooks.internal", .bool(false)),
        ("outgoing.authorities", .string("")), ("registry.protected", .stringArray(["champion"])),
        ("oidc.schemes", .stringArray(["https"])), ("oidc.internal", .bool(false)),
        ("oidc.issuers.NAME.url", .string("")), ("oidc.issuers.NAME.audience", .stringArray([])),
        ("oidc.issuers.NAME.groups", .string("groups")), ("oidc.issuers.NAME.age", .string("5m")),
        ("oidc.issuers.NAME.skew", .string("1m")), ("oidc.issuers.NAME.workspace", .string("default")),
        ("oidc.issuers.NAME.algorithms", .stringArray(SignatureAlgorithm.allCases.map(\.rawValue))),
        ("serving.threads", .int(0)), ("serving.python.code", .string("allowed")), ("serving.python.workers", .int(2)),
        ("serving.python.memory", .string("2GiB")), ("serving.python.network", .bool(false)), ("serving.python.users", .string("auto")),
        ("serving.python.interpreter", .string("")),
        ("serving.python.environment", .string("")), ("serving.python.index", .string("")),
        ("serving.python.wheels", .string("")), ("serving.python.sources", .bool(false)), ("serving.python.versions", .string("same")),
        ("serving.remote.schemes", .stringArray(["https"])), ("serving.remote.internal", .bool(false)), ("serving.remote.secrets", .string("")),
        ("tracing.otlp.endpoint", .string("")), ("tracing.otlp.headers", .stringArray([])), ("tracing.otlp.schemes", .stringArray(["https"])),
        ("tracing.otlp.internal", .bool(false)), ("tracing.sampling.ratio", .string("1")), ("tracing.service", .string("keel")),
        ("features.checkpoint", .int(8 << 20)), ("predictions.export", .string("5m")), ("shutdown.deadline", .string("10s")),
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
        var filed: [AbsoluteConfigKey: ConfigValue] = [:]
        if let file { filed = try values(of: file) }
        providers.append(InMemoryProvider(name: file ?? "file", values: filed))
        try checkTypes(environment, overrides)
        let reader = SettingReader(ConfigReader(providers: providers))
        let listen = reader.string("listen")
        guard let colon = listen.lastIndex(of: ":"), let port = Int(listen[listen.index(after: colon)...]), (0...65535).contains(port)
        else {
            throw .invalid("'\(listen)' is not HOST:PORT", path: "listen")
        }
        let deadline = reader.string("shutdown.deadline")
        guard let shutdownDeadline = TimeSpan(deadline), shutdownDeadline <= .hours(1) else {
            throw .invalid("'\(deadline.prefix(40))' is not a length of time up to 1h, such as 10s", path: "shutdown.deadline")
        }
        let export = reader.string("predictions.export")
        guard let predictionsExport = TimeSpan(export), predictionsExport <= .days(1) else {
            throw .invalid("'\(export.prefix(40))' is not a length of time up to 1d, such as 5m", path: "predictions.export")
        }
        let isolations = ProgramIsolation.Setting.allCases.map(\.rawValue)
        let isolation = ProgramIsolation.Setting(rawValue: try reader.word("pipelines.sandbox", of: isolations))
        return KeelConfiguration(
            home: absolute(reader.string("home")), host: String(listen[..<colon]), port: port, hosts: reader.strings("hosts"),
            trustsLocalOwner: try isOn(reader, "auth.local"), refusalsMax: try reader.int("auth.refusals", in: 1...Int.max),
            connectionsMax: try reader.int("connections.max", in: 1...Int.max),
            clientConnectionsMax: try reader.int("connections.client", in: 1...Int.max), memoryBytes: try memoryBytes(reader),
            tls: try tls(reader), programURL: reader.text("public.url"), bodyBytesMax: try reader.int("limits.body", in: 1...Int.max),
            artifactBytesMax: try reader.int("limits.artifact", in: 1...Int.max),
            stepsMax: try reader.int("pipelines.steps", in: 1...Int.max),
            stepsSandbox: isolation ?? .auto, stepsUser: reader.text("pipelines.user"), webhookSchemes: reader.strings("webhooks.schemes"),
            webhooksInternal: reader.bool("webhooks.internal"), outgoingAuthorities: reader.text("outgoing.authorities"),
            issuers: try issuers(reader, filed: filed.keys.map(\.components), environment),
            issuerSchemes: reader.strings("oidc.schemes"), issuersInternal: reader.bool("oidc.internal"),
            tracing: try tracing(reader, environment),
            modelThreads: try reader.int("serving.threads", in: 0...1024),
            pythonModels: try pythonModels(reader), pythonUsers: try pythonUsers(reader), remoteSchemes: reader.strings("serving.remote.schemes"),
            remotesInternal: reader.bool("serving.remote.internal"), remoteSecrets: reader.text("serving.remote.secrets").map(absolute),
            checkpointBytes: try reader.int("features.checkpoint", in: 1...Int.max),
            predictionsExport: predictionsExport, shutdownDeadline: shutdownDeadline,
            protectedAliases: reader.strings("registry.protected"), logLevel: try reader.word("log.level", of: levels))
    }

    private static let levels = ["trace", "debug", "info", "notice", "warning", "error", "critical"]

    /// The home as programs in other folders see it: a relative path begins where the server was started, and a symbolic link is followed once, so
    /// that every part of the server, and the sandbox of steps, names the same folder.
    private static func absolute(_ home: String) -> String {
        let folder = URL(fileURLWithPath: FileManager.default.currentDirectoryPath)
        return ProgramIsolation.Folders.resolved(URL(fileURLWithPath: home, relativeTo: folder).standardizedFileURL.path)
    }

    /// YAML reads `on` and `off` as words of its own: both spellings are taken.
    private static func isOn(_ reader: SettingReader, _ key: String) throws(KeelError) -> Bool {
        switch reader.string(key) {
        case "on", "true": return true
        case "off", "false": return false
        case let other: throw .invalid("'\(other)' is not on or off", path: key)
        }
    }

    private static func memoryBytes(_ reader: SettingReader) throws(KeelError) -> Int {
        guard let text = reader.text("memory.budget") else { return MachineMemory.standardBudget }
        guard let bytes = MachineMemory.bytes(text), bytes >= MemoryBudget.bytesMin else {
            throw .invalid(
                "'\(text)' is not a size of at least \(MemoryBudget.bytesMin >> 20) MiB", hint: "such as 2GiB", path: "memory.budget")
        }
        return bytes
    }

    private static func pythonModels(_ reader: SettingReader) throws(KeelError) -> PythonModels.Settings {
        var settings = PythonModels.Settings()
        settings.isAllowed = try reader.word("serving.python.code", of: ["allowed", "refused"]) == "allowed"
        settings.workers = try reader.int("serving.python.workers", in: 1...64)
        let memory = reader.string("serving.python.memory")
        guard let bytes = MachineMemory.bytes(memory), bytes >= 64 << 20 else {
            throw .invalid("'\(memory)' is not a size of at least 64 MiB", hint: "such as 2GiB", path: "serving.python.memory")
        }
        settings.memoryBytes = Int64(bytes)
        settings.hasNetwork = reader.bool("serving.python.network")
        settings.environment = reader.text("serving.python.environment").map {
            // The link itself: an environment is known by it, and not by the Python that it leads to.
            URL(fileURLWithPath: $0, relativeTo: URL(fileURLWithPath: FileManager.default.currentDirectoryPath)).standardizedFileURL.path
        }
        settings.environments.python = reader.text("serving.python.interpreter")
        settings.environments.uv = Installation.process?.path("native/uv/uv")
        settings.environments.index = reader.text("serving.python.index")
        settings.environments.wheels = reader.text("serving.python.wheels")
        settings.environments.buildsFromSource = reader.bool("serving.python.sources")
        settings.environments.allowsOtherPython = try reader.word("serving.python.versions", of: ["same", "any"]) == "any"
        return settings
    }

    private static func pythonUsers(_ reader: SettingReader) throws(KeelError) -> ProgramUsers.Choice {
        switch reader.string("serving.python.users") {
        case "auto": return .automatic
        // YAML reads it as a word of its own.
        case "off", "false": return .off
        case let text:
            guard let first = UInt32(text), first >= 1000, first < UInt32.max - 100_000 else {
                throw .invalid(
                    "'\(text.prefix(40))' is not auto, off or a user id from 1000", hint: "the 65,536 users from there must be nobody's",
                    path: "serving.python.users")
            }
            return .from(first)
        }
    }

    private static func tracing(_ reader: SettingReader, _ environment: [String: String]) throws(KeelError) -> TraceSettings? {
        guard let endpoint = reader.text("tracing.otlp.endpoint") else { return nil }
        return try TraceSettings(
            endpoint: endpoint, ratio: reader.string("tracing.sampling.ratio"), service: reader.string("tracing.service"),
            headers: reader.strings("tracing.otlp.headers"), schemes: reader.strings("tracing.otlp.schemes"),
            allowsInternal: reader.bool("tracing.otlp.internal"), environment: environment)
    }

    private static func tls(_ reader: SettingReader) throws(KeelError) -> TLSFiles? {
        switch (reader.text("tls.certificate"), reader.text("tls.key"), reader.text("tls.authorities")) {
        case (nil, nil, nil): return nil
        case (let certificate?, let key?, let authorities):
            return TLSFiles(certificate: certificate, key: key, authorities: authorities)
        case (nil, _, _): throw .invalid("TLS needs a certificate as well", path: "tls.certificate")
        case (_, nil, _): throw .invalid("TLS needs the certificate's key as well", path: "tls.key")
        }
    }

    /// Refuses a variable or argument that cannot be read as its setting's type, instead of taking the default.
    private static func checkTypes(_ environment: [String: String], _ overrides: [String: String]) throws(KeelError) {
        // Somebody who demanded tokens under the setting's old name must not get a server that demands none.
        guard environment["KEEL_AUTH_REQUIRED"] == nil else {
            throw .invalid(
                "this setting is auth.local now", hint: "KEEL_AUTH_LOCAL=off asks everyone for a token", path: "KEEL_AUTH_REQUIRED")
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
                if mapping.isEmpty, path.count == 3, path.starts(with: issuersPath) {
                    throw .invalid("the issuer '\(path[2])' has no settings", path: "\(file):\(node.mark?.line ?? 1)")
                }
                for (key, value) in mapping { try walk(value, path + [key.scalar?.string ?? ""]) }
                return
            }
            let name = path.joined(separator: ".")
            guard name != "url" else {
                throw .invalid("this setting is public.url now", hint: "public: { url: … }", path: "\(file):\(node.mark?.line ?? 1)")
            }
            guard let setting = setting(name) else {
                throw .invalid(
                    "unknown setting '\(name)'", hint: nearest(name, in: settings.map(\.key)).map { "did you mean '\($0)'?" },
                    path: "\(file):\(node.mark?.line ?? 1)")
            }
            let content: ConfigContent?
            switch setting.standard {
            case .string: content = node.scalar.map { .string($0.string) }
            case .int: content = node.int.map { .int($0) }
            case .bool: content = node.bool.map { .bool($0) }
            default: content = texts(node).map { .stringArray($0) }
            }
            guard let content else {
                throw .invalid("'\(name)' has a value of another type than \(setting.standard)", path: "\(file):\(node.mark?.line ?? 1)")
            }
            out[AbsoluteConfigKey(path)] = ConfigValue(content, isSecret: false)
        }
        if let root { try walk(root, []) }
        return out
    }

    /// The texts of a list; nil when it is none, or holds something else.
    private static func texts(_ node: Node) -> [String]? {
        guard let items = node.sequence else { return nil }
        let texts = items.compactMap { $0.scalar?.string }
        return texts.count == items.count ? texts : nil
    }
}
