/// How long to wait before a worker is started again: twice as long each time that one was of little use.
struct RestartPause: Sendable, Hashable {
    static let first = Duration.milliseconds(100)
    static let longest = Duration.seconds(30)
    /// A worker that lived so long was of use.
    static let usefulLife = Duration.seconds(60)

    private var failures = 0

    /// - Parameter life: how long the worker lived that has ended; nil for one that never became ready.
    mutating func next(after life: Duration?) -> Duration {
        if let life, life >= RestartPause.usefulLife { failures = 0 }
        let pause = RestartPause.first * (1 << min(failures, 20))
        failures += 1
        return min(pause, RestartPause.longest)
    }
}
