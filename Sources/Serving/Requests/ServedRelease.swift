import Contracts

/// A release made ready to serve: model loaded and warmed, feature reads planned.
final class ServedRelease: Sendable {
    let release: Release
    let model: LoadedModel
    let plan: any FeaturePlan
    let meter: ReleaseMeter
    /// How many rows may be worked on on an event loop: read and scored by trees, only read for a model that has threads of its own.
    let featureRowsMax: Int
    /// The threads of a pooled model; nil for one that runs on the calling thread.
    private let lane: PooledLane<ModelCall>?
    /// What a request may set, of the model's signature.
    private let params: [Signature.Parameter]
    /// Of any model: reading features takes its time too.
    private static let inlineRows = 512
    /// Requests that may wait for a pooled model.
    private static let waitingMax = 256

    init(release: Release, model: LoadedModel, plan: any FeaturePlan) {
        self.release = release
        self.model = model
        self.plan = plan
        let meter = ReleaseMeter()
        self.meter = meter
        params = model.bundle.signature.params
        switch model.lane {
        case .inline(let rowsMax):
            featureRowsMax = min(ServedRelease.inlineRows, rowsMax)
            lane = nil
        case .pooled(let threads):
            featureRowsMax = ServedRelease.inlineRows
            let joins = model.joinsRequests
            lane = PooledLane(
                threads: threads, waitingMax: ServedRelease.waitingMax, joined: { first, waiting in joins ? ModelCall.joined(first, waiting) : [] }
            ) { calls in
                meter.pooledRuns.wrappingIncrement(ordering: .relaxed)
                for call in calls { call.begin() }
                ModelCall.run(calls, by: model)
            }
        }
    }

    /// The same release with its features read by another plan.
    init(_ served: ServedRelease, plan: any FeaturePlan) {
        release = served.release
        model = served.model
        meter = served.meter
        featureRowsMax = served.featureRowsMax
        lane = served.lane
        params = served.params
        self.plan = plan
    }

    /// Whether the model has threads of its own.
    var isPooled: Bool { lane != nil }

    /// Runs the model: on this thread, or on one of its own together with what else waits for it.
    /// - Parameters:
    ///   - params: as the caller set them: they are checked here, on every way to a model.
    ///   - done: called once, on this thread or one of the model's, at the deadline at the latest; with how many nanoseconds the rows waited for a
    ///     thread of the model, nil when it has none.
    func predict(
        _ inputs: Table, params given: JSON, until deadline: ContinuousClock.Instant,
        done: @escaping @Sendable (Result<Table, KeelError>, _ waited: Int?) -> Void
    ) {
        let params: JSON
        do throws(KeelError) { params = try Signature.values(of: self.params, given) } catch { return done(.failure(error), nil) }
        guard let lane else {
            do throws(KeelError) {
                done(.success(try model.predict(inputs, params: params, until: deadline)), nil)
            } catch { done(.failure(error), nil) }
            return
        }
        let call = ModelCall(inputs, params: params, until: deadline) { done($0, $1) }
        do throws(KeelError) {
            try lane.submit(call, until: deadline) { call.answer(.failure($0)) }
        } catch { call.answer(.failure(error)) }
    }
}
