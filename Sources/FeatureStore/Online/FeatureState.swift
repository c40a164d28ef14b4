import Contracts
import Storage

/// What the online state of a dataset's views is made from, besides the stream. States of an equal basis are the same when they reach to the same place
/// in the stream.
public struct FeatureBasis: Hashable, Sendable {
    /// Says which rows those before the stream are.
    public let origin: String
    /// One for each view, with its definition.
    let views: [Digest]

    /// Nil when there is no view, or one of them lacks its history.
    init?(_ views: [OnlineView]) {
        guard let origin = views.first?.origin.withLock({ $0 }), views.allSatisfy({ $0.origin.withLock { $0 } == origin }) else {
            return nil
        }
        self.init(origin: origin, views)
    }

    init(origin: String, _ views: [OnlineView]) {
        self.origin = origin
        self.views = views.sorted { $0.view.name < $1.view.name }.map(\.digest)
    }

    var text: String { ([origin] + views.map(\.hex)).joined(separator: "\n") }
}

extension DatasetView.Identity {
    /// - Parameters:
    ///   - seed: of the hashes that the state holds.
    ///   - version: of the program.
    func digest(seed: UInt64, version: String) -> Digest {
        // What reflection writes has every field in it, also those that are added one day. A dictionary alone has no order.
        var spec = spec
        spec.keys = [:]
        let keys = self.spec.keys.sorted { $0.key < $1.key }.map { [$0.key, $0.value] }
        return Digest(
            of: [version, String(seed), "\(keys)", String(reflecting: spec), String(reflecting: entity), String(reflecting: columns)]
                .debugDescription)
    }
}

/// The online state of a dataset's views at one moment, to be kept in a file.
///
/// The file: a mark with the number of the format, the basis, the place in the stream up to which rows are in the state, the state of each view, and
/// the SHA-256 digest of all these.
public struct FeatureState: Sendable {
    public let basis: FeatureBasis
    private var views: [RetainedView]

    /// Raise the number when the bytes, or what they mean, change.
    fileprivate static let mark = Array("KEELFS02".utf8)
    fileprivate static let digestBytes = 64

    init(basis: FeatureBasis, views: [RetainedView]) {
        self.basis = basis
        self.views = views.reversed()
    }

    /// Writes the file, in parts of about 1 MiB; each part of the state is let go when it is written. Blocks.
    /// - Parameter place: the place in the stream up to which rows are in the state.
    public consuming func write(to file: AtomicFile, place: UInt64) throws {
        var hasher = Digest.Hasher()
        func put(_ part: [UInt8]) throws {
            hasher.update(part)
            try file.write(part)
        }
        var head = StateWriter()
        head.put(Array(basis.text.utf8))
        head.put(place)
        try put(FeatureState.mark + head.bytes)
        while let view = views.popLast() { try view.write(put) }
        try file.write(Array(hasher.finish().hex.utf8))
    }
}

extension FeatureDraft {
    /// Gives the draft's views over a dataset the state of a file that `FeatureState.write` wrote. Blocks.
    ///
    /// - Parameters:
    ///   - origin: of the dataset's history as it is now.
    ///   - isCovered: whether the stream has all rows behind a place.
    /// - Returns: the place in the stream up to which rows are in the state.
    /// - Throws: `corrupted` when the file is not what was written, `failedPrecondition` when it does not fit; nothing was taken then.
    public func restore(
        dataset: String, from file: UnsafeRawBufferPointer, origin: String, isCovered: (_ place: UInt64) -> Bool
    ) throws(KeelError) -> UInt64 {
        let end = file.count - FeatureState.digestBytes
        guard end >= FeatureState.mark.count else { throw StateReader.damaged }
        var hasher = Digest.Hasher()
        hasher.update(UnsafeRawBufferPointer(rebasing: file[..<end]))
        guard file[end...].elementsEqual(hasher.finish().hex.utf8) else { throw StateReader.damaged }
        guard file.starts(with: FeatureState.mark) else { throw KeelError(.failedPrecondition, "it has the format of another version") }
        var reader = StateReader(UnsafeRawBufferPointer(rebasing: file[FeatureState.mark.count..<end]))
        let views = views(of: dataset)
        guard try reader.bytes() == Array(FeatureBasis(origin: origin, views).text.utf8) else {
            throw KeelError(.failedPrecondition, "it was made from other rows, by other definitions or by another version")
        }
        let place: UInt64 = try reader.integer()
        guard isCovered(place) else { throw KeelError(.failedPrecondition, "the stream does not have all rows since then any more") }
        var restored: [RestoredView] = []
        for view in views { restored.append(try view.decode(&reader)) }
        guard reader.isAtEnd else { throw StateReader.damaged }
        for (view, state) in zip(views, restored) { view.take(state) }
        return place
    }
}
