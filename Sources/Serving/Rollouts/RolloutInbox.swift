import Contracts
import Synchronization

/// Collects what the prediction log tells of endpoints with a rollout, until the next tick reads it.
final class RolloutInbox: PredictionObserver {
    private struct Watched {
        var candidate: Int
        var incumbent: Int
        var observations: [Rollout.Observation] = []
    }

    private let watched = Mutex<[ResourceRef: Watched]>([:])
    private let times = Mutex<[ResourceRef: Timestamp]>([:])

    func watch(_ endpoint: ResourceRef, candidate: Int, incumbent: Int) {
        watched.withLock { $0[endpoint] = Watched(candidate: candidate, incumbent: incumbent) }
    }

    func forget(_ endpoint: ResourceRef) { watched.withLock { $0[endpoint] = nil } }

    func take(_ endpoint: ResourceRef) -> [Rollout.Observation] {
        watched.withLock { watched in
            defer { watched[endpoint]?.observations = [] }
            return watched[endpoint]?.observations ?? []
        }
    }

    /// The newest event time among the endpoint's predictions.
    func eventTime(_ endpoint: ResourceRef) -> Timestamp? { times.withLock { $0[endpoint] } }

    func observed(_ predictions: [PredictionRecord]) {
        var newest: [ResourceRef: Timestamp] = [:]
        watched.withLock { watched in
            for record in predictions {
                if record.eventTime > newest[record.endpoint] ?? .distantPast { newest[record.endpoint] = record.eventTime }
                if let score = record.score { add(record.endpoint, record.id, record.release, Double(score), nil, to: &watched) }
            }
        }
        times.withLock { times in times.merge(newest) { max($0, $1) } }
    }

    func observed(labels: [LabelledPrediction]) {
        watched.withLock { watched in
            for label in labels {
                if let score = label.score { add(label.endpoint, label.id, label.release, score, label.label.number, to: &watched) }
            }
        }
    }

    private func add(
        _ endpoint: ResourceRef, _ id: String, _ release: Int, _ score: Double, _ label: Double?, to watched: inout [ResourceRef: Watched]
    ) {
        guard let watch = watched[endpoint] else { return }
        if release == watch.candidate {
            watched[endpoint]?.observations.append(.request(id: id, candidate: score, incumbent: nil, label: label))
        } else if release == watch.incumbent {
            watched[endpoint]?.observations.append(.request(id: id, candidate: nil, incumbent: score, label: label))
        }
    }
}
