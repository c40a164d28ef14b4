import COnnxRuntime
import Contracts
import Dispatch
import Synchronization

/// One call of a model, which another thread can end.
///
/// `@unchecked Sendable`: ONNX Runtime's termination flag is made to be set from another thread; the handle is freed with the last reference.
final class ONNXCall: @unchecked Sendable {
    let handle: OpaquePointer

    init(_ library: ONNXRuntimeLibrary) throws(KeelError) {
        var created: OpaquePointer?
        if let message = ONNXRuntimeLibrary.take(keel_onnx_call_create(library.handle, &created)) { throw KeelError(.internal, message) }
        guard let created else { throw KeelError(.internal, "ONNX Runtime gave no run options") }
        handle = created
    }

    deinit { keel_onnx_call_free(handle) }
}

/// Ends calls of models at their deadlines, since a model may loop for as long as it likes. It wakes only while calls are under way.
final class ONNXDeadlines: Sendable {
    private struct Entry {
        let call: ONNXCall
        let deadline: ContinuousClock.Instant
        var isTerminated = false
    }

    private struct State {
        var entries: [Entry] = []
        var isScheduled = false
    }

    static let shared = ONNXDeadlines()
    private let queue = DispatchQueue(label: "keel.onnx.deadlines")
    private let state = Mutex(State())
    /// How late a call may be ended.
    private static let tick = DispatchTimeInterval.milliseconds(10)

    /// Runs `body`, whose call is ended when the deadline is there.
    /// - Returns: what `body` returned, and whether the deadline ended it.
    func watch<T>(_ call: ONNXCall, until deadline: ContinuousClock.Instant, _ body: () -> T) -> (T, isTerminated: Bool) {
        let mustSchedule = state.withLock { state in
            state.entries.append(Entry(call: call, deadline: deadline))
            defer { state.isScheduled = true }
            return !state.isScheduled
        }
        if mustSchedule { schedule() }
        let result = body()
        let isTerminated = state.withLock { state in
            guard let i = state.entries.firstIndex(where: { $0.call === call }) else { return false }
            return state.entries.remove(at: i).isTerminated
        }
        return (result, isTerminated)
    }

    private func schedule() {
        queue.asyncAfter(deadline: .now() + ONNXDeadlines.tick) { [self] in
            let goesOn = state.withLock { state in
                let now = ContinuousClock.now
                for i in state.entries.indices where !state.entries[i].isTerminated && state.entries[i].deadline <= now {
                    keel_onnx_call_terminate(state.entries[i].call.handle)
                    state.entries[i].isTerminated = true
                }
                state.isScheduled = !state.entries.isEmpty
                return state.isScheduled
            }
            if goesOn { schedule() }
        }
    }
}
