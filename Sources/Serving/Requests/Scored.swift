import Contracts

/// A request's inputs and outputs by one release.
struct Scored: Sendable {
    let inputs: ModelInputs
    let outputs: Table
    /// The primary output as a number a row; nil when the model has none.
    let scores: [Float]?
    /// What is known of it so far.
    var timing: InferenceTiming
    /// When the model had answered.
    let end: Tick

    /// Reads the features (unless `known` has them) and runs the model.
    /// - Parameters:
    ///   - start: when this begins.
    ///   - done: called once, on this thread or one of the model's.
    static func make(
        by served: ServedRelease, _ request: Table, _ params: JSON, reusing known: ModelInputs? = nil, from start: Tick = .now,
        until deadline: ContinuousClock.Instant, trace: OpenTrace? = nil, done: @escaping @Sendable (Result<Scored, KeelError>) -> Void
    ) {
        let inputs: ModelInputs
        if let known {
            inputs = known
        } else {
            do throws(KeelError) { inputs = try served.plan.read(request) } catch { return done(.failure(error)) }
        }
        let read = Tick.now
        trace?.add(.features, from: start, to: read)
        served.predict(inputs.table, params: params, until: deadline) { result, waited in
            let end = Tick.now
            if let trace {
                let begin = read + (waited ?? 0)
                if waited != nil { trace.add(.queue, from: read, to: begin) }
                trace.add(.model, from: begin, to: end)
            }
            done(result.map { outputs in
                let timing = InferenceTiming(
                    features: read - start, queue: waited, model: end - read - (waited ?? 0), scoring: end - start)
                return Scored(inputs: inputs, outputs: outputs, scores: served.model.scores(outputs), timing: timing, end: end)
            })
        }
    }

    func batch(of served: ServedRelease, _ ids: [String], _ request: Table, at: Timestamp, shadow: Bool) -> InferenceBatch {
        InferenceBatch(
            endpoint: served.release.endpoint, release: served.release.number, shadow: shadow, at: at, ids: ids, inputs: inputs, outputs: outputs,
            scores: scores, request: request, latencyNanoseconds: timing.scoring)
    }
}
