import Foundation

/// Gives the parsers of Keel inputs that nobody would write, and looks at what they do.
///
///     keel-fuzz all                              every target as `make test` runs it
///     keel-fuzz json --seconds 600 --seed 7      one, for a time instead of a number of inputs
///     keel-fuzz json --input FILE                one input again, in this process
///     keel-fuzz list
///
/// A parser fails when it ends its process, takes too long or too much memory, or when what it accepted is not what it says it is.
@main
enum Fuzz {
    private static let usage = """
        keel-fuzz list
        keel-fuzz all|TARGET… [--seconds N] [--seed N] [--jobs N] [--corpus FOLDER] [--faults FOLDER]
        keel-fuzz TARGET --input FILE
        """

    static func main() {
        do { exit(try run(Array(CommandLine.arguments.dropFirst()))) } catch {
            say((error as? FuzzFault)?.message ?? "\(error)")
            exit(2)
        }
    }

    private static func run(_ arguments: [String]) throws -> Int32 {
        var names: [String] = []
        var settings = FuzzRun.Settings()
        var jobs = 2
        var input: String?
        var child: String?
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            guard argument.hasPrefix("--") else {
                names.append(argument)
                continue
            }
            guard let value = rest.popFirst() else { throw FuzzFault(usage) }
            switch argument {
            case "--seconds": settings.seconds = Double(value)
            case "--seed": settings.seed = UInt64(value) ?? settings.seed
            case "--jobs": jobs = max(1, Int(value) ?? jobs)
            case "--corpus": settings.corpus = value
            case "--faults": settings.faults = value
            case "--input": input = value
            case "--child": child = value
            default: throw FuzzFault(usage)
            }
        }
        if names == ["list"] {
            for target in FuzzTarget.all { say("\(target.name) \(target.inputs) inputs") }
            return 0
        }
        let targets = names == ["all"] ? FuzzTarget.all : FuzzTarget.all.filter { names.contains($0.name) }
        guard !targets.isEmpty, names == ["all"] || targets.count == names.count else { throw FuzzFault(usage) }
        if let input { return try once(targets[0], input) }
        if let child {
            let corpus = try corpus(of: targets[0], settings)
            Worker(
                target: targets[0], corpus: corpus, seed: settings.seed, seconds: settings.seconds, shared: try SharedInput(path: child)
            ).run()
        }
        return try watch(targets, settings, jobs)
    }

    /// Runs the targets, so many at a time.
    private static func watch(_ targets: [FuzzTarget], _ settings: FuzzRun.Settings, _ jobs: Int) throws -> Int32 {
        var waiting = targets[...]
        var running: [FuzzRun] = []
        var isWell = true
        while !waiting.isEmpty || !running.isEmpty {
            while running.count < jobs, let target = waiting.popFirst() { running.append(try FuzzRun(target, settings)) }
            usleep(100_000)
            running.removeAll { run in
                guard let result = run.poll() else { return false }
                isWell = isWell && result
                return true
            }
        }
        return isWell ? 0 : 1
    }

    private static func once(_ target: FuzzTarget, _ path: String) throws -> Int32 {
        guard let data = FileManager.default.contents(atPath: path) else { throw FuzzFault("cannot read \(path)") }
        switch Execution.outcome(of: Array(data), target) {
        case .accepted(let word): say("accepted: \(word)")
        case .refused(let message): say("refused: \(message)")
        case .fault(let message):
            say("FAULT: \(message)")
            return 1
        }
        return 0
    }

    private static func corpus(of target: FuzzTarget, _ settings: FuzzRun.Settings) throws -> [[UInt8]] {
        let folder = "\(settings.corpus)/\(target.name)"
        let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
        let inputs = names.compactMap { FileManager.default.contents(atPath: "\(folder)/\($0)").map { Array($0) } }
        guard !inputs.isEmpty else { throw FuzzFault("there is no corpus in \(folder)") }
        return inputs
    }
}

/// Prints at once: who waits for a target sees each line when it is there.
func say(_ text: String) {
    print(text)
    fflush(nil)
}
