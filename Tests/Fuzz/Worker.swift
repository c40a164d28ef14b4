import Foundation

/// The process that works on inputs until its time is over or one of them ends it.
struct Worker {
    let target: FuzzTarget
    let corpus: [[UInt8]]
    let seed: UInt64
    /// How long it works; nil: for the target's number of inputs.
    let seconds: Double?
    let shared: SharedInput

    /// A parser that needs more of the stack than this goes as deep as its input says. The server's threads have more.
    private static let stackBytes = 2 << 20
    /// What a parser may take for inputs of some kilobytes.
    private static let memoryBytes = 1 << 30
    private static let poolMax = 5000

    /// Ends with the process: 0 when all was well, 3 when a parser did something wrong.
    func run() -> Never {
        if !Execution.seesEdges { limitMemory() }
        // This thread only waits from here on.
        nonisolated(unsafe) let worker = self
        let thread = Thread { exit(worker.work()) }
        thread.stackSize = Execution.seesEdges ? 64 << 20 : Worker.stackBytes
        thread.start()
        while true { sleep(3600) }
    }

    private func work() -> Int32 {
        var execution = Execution(target)
        var mutator = Mutator(target, seed: seed)
        var pool = corpus
        let end = seconds.map { DispatchTime.now().uptimeNanoseconds + UInt64($0 * 1e9) }
        var next = 0
        while true {
            var input = next < corpus.count ? corpus[next] : mutator.input(from: pool)
            next += 1
            if next > corpus.count, let repair = target.repair, mutator.choose(4) > 0 { input = repair(input) }
            shared.input = input
            let began = DispatchTime.now().uptimeNanoseconds
            shared[.isRunning] = 1
            let (outcome, isNew) = execution.run(input)
            shared[.isRunning] = 0
            let now = DispatchTime.now().uptimeNanoseconds
            shared[.runs] += 1
            shared[.slowest] = max(shared[.slowest], Int(now - began))
            switch outcome {
            case .accepted: shared[.accepted] += 1
            case .refused: break
            case .fault(let message):
                shared.message = message
                return 3
            }
            if isNew, next > corpus.count {
                // The oldest of what was found makes room; the corpus stays.
                if pool.count >= Worker.poolMax { pool.remove(at: corpus.count + mutator.choose(pool.count - corpus.count)) }
                pool.append(input)
                shared[.kept] += 1
            }
            if end.map({ now >= $0 }) ?? (next >= target.inputs) { return 0 }
        }
    }

    private func limitMemory() {
        let pages = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?.split(separator: " ").first.flatMap { Int($0) } ?? 0
        var limit = rlimit()
        limit.rlim_cur = rlim_t(pages * Int(getpagesize()) + Worker.memoryBytes)
        limit.rlim_max = limit.rlim_cur
        setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
    }
}
