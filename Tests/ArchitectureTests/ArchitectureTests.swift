import Foundation
import Testing

/// A target imports only layers below its own, and modules of the domain never import each other.
@Suite("Architecture")
struct ArchitectureTests {
    /// From the foundation up.
    static let layers: [[String]] = [
        ["Contracts"],
        ["Expressions", "Statistics", "Importing"],
        ["CZlib", "CDuckDB", "COnnxRuntime", "CGradientBoosting", "CPostgres", "CRE2", "CSupervisor"],
        ["Engines", "Workers"],
        ["Storage"],
        ["Governance", "Datasets", "FeatureStore", "Tracking", "Registry", "Pipelines", "Serving", "Monitoring"],
        ["Workflows", "Outgoing"],
        ["OpenIDConnect", "TraceExport", "RemoteInference"],
        ["Platform"],
        ["WebAPI"],
        ["SearchLanguage"],
        ["MLflowAPI", "InferenceAPI", "KeelAPI", "Console"],
        ["InferenceRPC"],
        ["KeelClient", "Plotting"],
        ["MLflowImport"],
        ["keel"],
    ]
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    struct Source {
        let target: String
        let path: String
        let text: String
    }

    static func sources() throws -> [Source] {
        let folder = root.appendingPathComponent("Sources").path
        let names = try #require(FileManager.default.enumerator(atPath: folder)?.allObjects as? [String])
        return try names.filter { $0.hasSuffix(".swift") }.map { name in
            Source(
                target: String(name.prefix { $0 != "/" }), path: name,
                text: try String(contentsOfFile: folder + "/" + name, encoding: .utf8))
        }
    }

    static func imports(_ text: String) -> [String] {
        text.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ").map(String.init)
            guard let i = words.firstIndex(of: "import"),
                words[..<i].allSatisfy({ $0.hasPrefix("@") || $0 == "public" || $0 == "package" }), i + 1 < words.count
            else { return nil }
            return words[words.count - 1].split(separator: ".").first.map(String.init)
        }
    }

    @Test("every target is in a layer, and every layer has only targets that exist")
    func complete() throws {
        let targets = Set(try FileManager.default.contentsOfDirectory(atPath: Self.root.appendingPathComponent("Sources").path))
        #expect(targets == Set(Self.layers.joined()))
    }

    @Test("every target in Swift has tests of its own")
    func tested() throws {
        let tests = Set(try FileManager.default.contentsOfDirectory(atPath: Self.root.appendingPathComponent("Tests").path))
        for target in Set(try Self.sources().map(\.target)) {
            #expect(tests.contains(target + "Tests"), "\(target) has no tests: add Tests/\(target)Tests")
        }
    }

    @Test("a module has folders: few files lie beside each other outside of them")
    func folders() throws {
        var loose: [String: Int] = [:]
        for source in try Self.sources() where source.path.split(separator: "/").count == 2 { loose[source.target, default: 0] += 1 }
        for (target, count) in loose { #expect(count <= 15, "\(target) has \(count) files outside of folders: group them by concept") }
    }

    @Test("services take parsed searches: only the APIs read the text of a filter")
    func searches() throws {
        for source in try Self.sources() where Self.imports(source.text).contains("SearchLanguage") {
            #expect(source.target.hasSuffix("API") || source.target == "Console", "\(source.path) must not read filters; it takes clauses")
        }
    }

    @Test("the engines know nothing of expressions and statistics")
    func engines() throws {
        for source in try Self.sources() where source.target == "Engines" {
            let known = Set(Self.imports(source.text)).intersection(["Expressions", "Statistics", "Importing"])
            #expect(known.isEmpty, "\(source.path) imports \(known)")
        }
    }

    @Test("a target imports only layers below its own")
    func layers() throws {
        let layer = Dictionary(uniqueKeysWithValues: Self.layers.enumerated().flatMap { level, names in names.map { ($0, level) } })
        for source in try Self.sources() {
            let own = try #require(layer[source.target], "\(source.target) is in no layer")
            for name in Self.imports(source.text) {
                guard let other = layer[name] else { continue }
                #expect(other < own, "\(source.path) imports \(name), which is not below it")
            }
        }
    }

    @Test("only Storage knows GRDB and libpq, only Engines know C, only the web layer, the APIs, the client and the command know HTTP")
    func knowledge() throws {
        let allowed: [(prefixes: [String], targets: Set<String>)] = [
            (["GRDB", "CPostgres"], ["Storage"]),
            (["CDuckDB", "COnnxRuntime", "CGradientBoosting", "CZlib", "CRE2"], ["Engines"]),
            // The supervisor of programs: a process, not an engine. Pipelines takes holes in files from it.
            (["CSupervisor"], ["Workers", "Pipelines"]),
            (["Hummingbird", "NIO", "HTTPTypes"], ["Outgoing", "WebAPI", "MLflowAPI", "InferenceAPI", "InferenceRPC", "KeelAPI", "Console", "KeelClient", "keel"]),
        ]
        for source in try Self.sources() {
            for name in Self.imports(source.text) {
                for rule in allowed where rule.prefixes.contains(where: { name == $0 || ($0 != "GRDB" && name.hasPrefix($0)) }) {
                    #expect(rule.targets.contains(source.target), "\(source.path) must not import \(name)")
                }
            }
        }
    }

    @Test("an API's wire format knows no server")
    func wire() throws {
        for source in try Self.sources() where source.path.contains("/Wire/") {
            for name in Self.imports(source.text) {
                #expect(
                    !name.hasPrefix("Hummingbird") && !name.hasPrefix("NIO") && name != "Platform" && name != "WebAPI",
                    "\(source.path) must not import \(name)"
                )
            }
        }
    }

    @Test("S8: a number of a computation becomes a whole one by Int(saturating:), which cannot trap")
    func wholeNumbers() throws {
        // Up to the parenthesis that closes the conversion; what stands inside of two more is another call's.
        let labels = "saturating:|exactly:|bitPattern:|truncatingIfNeeded:|clamping:|ascii:"
        let inner = #"(?:[^()"]|\((?:[^()]|\([^()]*\))*\))*"#
        let trap = try Regex(
            #"\bU?Int(?:8|16|32|64)?\((?!"# + labels + ")" + inner + #"(?:\.rounded\(|\bDouble\(|\bpow\(|\blog10?\(|\bfloor\(|\bceil\()"#)
        for source in try Self.sources() {
            for (i, line) in source.text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
                let isTrap = !line.contains("///") && line.contains(trap)
                #expect(!isTrap, "\(source.path):\(i + 1): use Int(saturating:), or Int(exactly:) and say what happens otherwise")
            }
        }
        #expect("Int((abs(value) * scale).rounded())".contains(trap) && !"Int64(text).map { .int($0) } ?? Double(text)".contains(trap))
    }

    @Test("A11: the command prints through Terminal alone, and logs through LogLines")
    func output() throws {
        for source in try Self.sources() where source.target == "keel" {
            let name = source.path.split(separator: "/").last.map(String.init) ?? ""
            if ["Terminal.swift", "LogLines.swift"].contains(name) { continue }
            for (i, line) in source.text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
                let prints = [
                    "FileHandle.standardError", "FileHandle.standardOutput", "Swift.print(", "fputs(", "StreamLogHandler.standard",
                ]
                #expect(
                    !prints.contains { line.contains($0) },
                    "\(source.path):\(i + 1): print through Terminal, which escapes what others wrote")
                if line.contains("func print(") { continue }
                let words = line.split { !$0.isLetter && $0 != "(" && $0 != "." }
                #expect(!words.contains { $0.hasPrefix("print(") }, "\(source.path):\(i + 1): print through Terminal")
            }
        }
    }

    @Test("the wall clock is read by SystemClock alone and by the command; a module gets its clock from whoever makes it")
    func clocks() throws {
        for (place, line, source) in try Self.lines() {
            for read in ["Date()", "Date.now", "gettimeofday", "clock_gettime", "time(nil)", "systemNow()"] where line.contains(read) {
                let isAllowed =
                    [
                        "Contracts/Time/Timestamp.swift", "Tracking/Migrations.swift",
                        // Identifiers carry the time at which they are made, unless their maker says another.
                        "Contracts/Names/Identifier.swift",
                        // For a person who finds the folder in use.
                        "Storage/Files/Home.swift",
                    ].contains(source.path) || source.target == "keel"
                #expect(isAllowed, "\(place): \(read) reads the machine's clock; take a Clock")
            }
            if line.contains("SystemClock()") {
                #expect(line.contains("clock: any Clock = SystemClock()"), "\(place): SystemClock is for default arguments")
            }
        }
    }

    @Test("chance has few sources, each known for what it is")
    func chance() throws {
        let sources: [String: String] = [
            "Contracts/Names/Identifier.swift": "identifiers",
            "Governance/Tokens/TokenService.swift": "secrets",
            "Datasets/Ingestion/KeySet.swift": "a hash that nobody can prepare keys for",
            "FeatureStore/FeatureStore.swift": "the same; a default argument",
            "Tracking/Runs/TrackingService+Runs.swift": "names of runs, as MLflow gives them",
            "Registry/Webhooks/WebhookFollower.swift": "retries that do not come all at once",
            "Serving/Log/PredictionLog.swift": "which predictions a full journal leaves out",
        ]
        for (place, line, source) in try Self.lines() {
            for call in [".random(in:", "UUID()", "SystemRandomNumberGenerator", "arc4random", "getrandom"] where line.contains(call) {
                #expect(
                    sources[source.path] != nil, "\(place): \(call) is a new source of chance; take an Identifier, or say here what for")
            }
        }
    }

    @Test("random tests can be repeated: their numbers come from Seeded")
    func seeded() throws {
        let folder = Self.root.appendingPathComponent("Tests").path
        let names = try #require(FileManager.default.enumerator(atPath: folder)?.allObjects as? [String])
        for name in names where name.hasSuffix(".swift") && !name.hasPrefix("ArchitectureTests") {
            let text = try String(contentsOfFile: folder + "/" + name, encoding: .utf8)
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            for (i, line) in lines.enumerated() {
                let isDrawn = [".random(in:", ".randomElement(", ".shuffled("].contains { line.contains($0) }
                let isSeeded = lines[i..<min(i + 2, lines.count)].contains { $0.contains("using:") }
                #expect(!isDrawn || isSeeded, "\(name):\(i + 1): draw using a Seeded")
                #expect(!line.contains("SystemRandomNumberGenerator"), "\(name):\(i + 1): use a Seeded")
                let isGenerator = line.contains(": RandomNumberGenerator")
                #expect(!isGenerator || name == "TestSupport/Seeded.swift", "\(name):\(i + 1): there is a Seeded already")
            }
        }
    }

    @Test("calls that end the process, block Swift's threads, or work without bounds are not used")
    func banned() throws {
        let banned: [(call: String, why: String)] = [
            ("fatalError(", "an error is thrown, and ends one request"),
            ("preconditionFailure(", "an error is thrown, and ends one request"),
            (" as! ", "a cast that fails ends the process"),
            ("NSRegularExpression", "it can take time without bounds; patterns go through RE2"),
            ("JSONSerialization", "JSON.parse has limits, and keeps numbers as they are"),
            ("JSONDecoder", "JSON.parse has limits, and keeps numbers as they are"),
            ("Thread.sleep", "it blocks a thread that others need; Task.sleep"),
            ("usleep(", "it blocks a thread that others need; Task.sleep"),
            ("popen(", "it runs a shell; ChildProcess"),
            ("DispatchQueue.global().async {", "work that blocks there keeps Swift's tasks waiting; Blocking.run"),
            ("Task.detached", "it drops the task's values and its cancellation"),
        ]
        for (place, line, _) in try Self.lines() {
            for (call, why) in banned { #expect(!line.contains(call), "\(place): \(call): \(why)") }
        }
    }

    /// Every line that is not a comment, with its place.
    private static func lines() throws -> [(place: String, line: Substring, source: Source)] {
        try sources().flatMap { source in
            source.text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { i, line in
                line.drop { $0 == " " }.hasPrefix("//") ? nil : ("\(source.path):\(i + 1)", line, source)
            }
        }
    }

    @Test("no force tries, no unfinished marks, and a reason beside every unchecked Sendable")
    func tidy() throws {
        for source in try Self.sources() {
            let lines = source.text.split(separator: "\n", omittingEmptySubsequences: false)
            for (i, line) in lines.enumerated() {
                let place = "\(source.path):\(i + 1)"
                #expect(!line.contains("try" + "! "), "\(place): a force try")
                // The demo reads the two files that it was given, without columns of their path.
                if !["/DuckDBConnection+Parquet.swift", "/Demo/FlightHistory.swift"].contains(where: source.path.hasSuffix) {
                    let bare = line.firstMatch(of: /read_(parquet|csv|csv_auto|json|json_auto|text|blob)\(|parquet_scan\(/)
                    #expect(
                        bare == nil, "\(place): files are read through DuckDBConnection.parquet, which keeps their paths out of their rows")
                }
                #expect(!line.contains("TO" + "DO") && !line.contains("FIX" + "ME"), "\(place): an unfinished mark")
                if line.contains("@unchecked Sendable"), !line.contains("///") {
                    #expect(
                        ["Contracts", "Engines", "Storage"].contains(source.target),
                        "\(place): unchecked Sendable outside Contracts, Engines and Storage")
                    let before = lines[max(0, i - 12)..<i].joined()
                    #expect(before.contains("`@unchecked Sendable`"), "\(place): say why it is safe")
                }
            }
        }
    }
}
