import Atomics
import Contracts

/// How an endpoint's requests are shared out, as of one moment. Never changed: a deployer puts a new one in its place.
final class EndpointRoute: Sendable {
    let spec: EndpointSpec
    let stable: ServedRelease?
    let candidate: ServedRelease?
    /// The candidate's share of answers: 0 in the shadow phase.
    let share: Double
    /// Whether the stable release is loaded now and will be there.
    let isStarting: Bool
    /// Whether both releases read the same values of the same request, so that one read serves both.
    let sharesFeatures: Bool
    let load: EndpointLoad
    /// How many rows may be worked on on an event loop, whichever release answers.
    let featureRowsMax: Int
    private let salt: UInt64

    init(
        spec: EndpointSpec, stable: ServedRelease?, candidate: ServedRelease? = nil, share: Double = 0, isStarting: Bool = false, load: EndpointLoad
    ) {
        self.isStarting = isStarting
        (self.spec, self.stable, self.candidate, self.share, self.load) = (spec, stable, candidate, share, load)
        featureRowsMax = min(stable?.featureRowsMax ?? 0, share > 0 ? candidate?.featureRowsMax ?? 0 : .max)
        salt = UInt64(candidate?.release.number ?? 0) &* 0x9E37_79B9_7F4A_7C15
        sharesFeatures =
            candidate.map { candidate in
                candidate.release.featureService == stable?.release.featureService
                    && candidate.model.bundle.signature.inputs == stable?.model.bundle.signature.inputs
            } ?? false
    }

    /// The release of a model version; nil when both releases have it, so that the rollout decides.
    /// - Throws: `notFound` for a version that does not serve here.
    func release(ofVersion version: String) throws(KeelError) -> ServedRelease? {
        let found = [stable, candidate].compactMap { $0 }.filter { $0.release.modelVersion == version }
        guard let first = found.first else {
            let known = [stable, candidate].compactMap { $0?.release.modelVersion }
            throw .notFound(
                "endpoint '\(spec.ref.qualifiedName)' serves no version '\(version.prefix(60))'", hint: "it serves \(known.joined(separator: " and "))")
        }
        return found.count == 1 ? first : nil
    }

    /// Decides by the id alone, so that asking again gives the same release: the share of ids below `share` of the hash's range. A growing
    /// share keeps the ids that it had.
    func answersByCandidate(_ id: String) -> Bool {
        guard candidate != nil, share > 0 else { return false }
        return unitHash(id, salt: salt) < share
    }
}

/// Admission to one endpoint; it outlives the routes.
final class EndpointLoad: Sendable {
    let inFlight = ManagedAtomic<Int>(0)
    let refusals = ReleaseMeter()
}

/// All endpoints at one moment.
final class RoutingTable: AtomicReference, Sendable {
    let routes: [ResourceRef: EndpointRoute]
    init(_ routes: [ResourceRef: EndpointRoute]) { self.routes = routes }
}

/// A text as a number in 0..<1, uniform and the same on every machine: FNV-1a with the finalizer of SplitMix64.
func unitHash(_ text: String, salt: UInt64) -> Double {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325 ^ salt
    for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return Double(mix(hash) >> 11) / Double(1 << 53)
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
}
