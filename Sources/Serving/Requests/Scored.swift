import Contracts

/// A request's inputs and outputs by one release.
struct Scored: Sendable {
    let inputs: ModelInputs
    let outputs: Table
    /// The primary output as a number a row; nil when the model has none.
    let scores: [Float]?
    let timing: InferenceTiming

    /// Reads the features (unless `known` has them) and runs the model.
    /// - Parameter done: called once, on this thread or one of the model's.
    static func make(
        by served: ServedRelease, _ request: Table, _ params: JSON, reusing known: ModelInputs? = nil, until deadline: ContinuousClock.Instant,
        done: @escaping @Sendable (Result<Scored, KeelError>) -> Void
    ) {
        let start = ContinuousClock.now
        let inputs: ModelInputs
        if let known {
            inputs = known
        } else {
            do throws(KeelError) { inputs = try served.plan.read(request) } catch { return done(.failure(error)) }
        }
        let read = ContinuousClock.now
        served.predict(inputs.table, params: params, until: deadline) { result in
            let end = ContinuousClock.now
            let timing = InferenceTiming(features: nanoseconds(start, read), model: nanoseconds(read, end), total: nanoseconds(start, end))
            done(result.map { Scored(inputs: inputs, outputs: $0, scores: served.model.scores($0), timing: timing) })
        }
    }

    func batch(of served: ServedRelease, _ ids: [String], _ request: Table, at: Timestamp, shadow: Bool) -> InferenceBatch {
        InferenceBatch(
            endpoint: served.release.endpoint, release: served.release.number, shadow: shadow, at: at, ids: ids, inputs: inputs, outputs: outputs,
            scores: scores, request: request, latencyNanoseconds: timing.total)
    }
}

func nanoseconds(_ from: ContinuousClock.Instant, _ to: ContinuousClock.Instant) -> Int {
    let (seconds, attoseconds) = (to - from).components
    return Int(seconds) * 1_000_000_000 + Int(attoseconds / 1_000_000_000)
}
