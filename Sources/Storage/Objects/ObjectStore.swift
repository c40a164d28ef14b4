import Contracts

/// Where bytes live: content under its digest, and the parts of uploads until they are whole. A folder now; S3 by configuration.
///
/// The store knows content, not who needs it: references (a path of artifacts, the bundle of a release) are rows of the modules that own them.
/// Content is put first and referred to afterwards, so between the two it is *held*: a collection leaves it alone.
public protocol ObjectStore: Sendable {
    /// Stores bytes under their digest; the same bytes are stored once. Held for `holdSeconds`, or until it is settled.
    func put(_ bytes: [UInt8]) async throws -> Digest
    /// The whole content, checked against its digest.
    func get(_ digest: Digest) async throws -> [UInt8]

    /// Stores content that arrives in parts, in memory that does not depend on its size. It exists when all of it has arrived and is durable.
    /// - Throws: `payloadTooLarge` or `invalidArgument` when it is not of that size, `unavailable` when the disk is full; nothing is kept then.
    func put<Part: Collection<UInt8> & Sendable>(
        parts: some AsyncSequence<Part, any Error> & Sendable, size: ContentSize
    ) async throws -> StoredObject
    /// Content to be read in any order, checked against its digest; it stays readable while the reader lives, also when it is collected meanwhile.
    /// - Throws: `notFound`; `corrupted` when the content is not what was stored.
    func open(_ digest: Digest) async throws -> ObjectReader
    /// Says that what was put is referred to (or never will be): a collection may judge it by its references again.
    func settle(_ digest: Digest)

    /// Stores one part of an upload, durably; parts of one upload may arrive in any order and in parallel.
    func putPart<Part: Collection<UInt8> & Sendable>(
        upload: String, number: Int, parts: some AsyncSequence<Part, any Error> & Sendable, size: ContentSize
    ) async throws -> StoredObject
    /// Joins parts, in this order, to content. The parts stay until `removeUpload`.
    func join(upload: String, parts: [(number: Int, digest: Digest)]) async throws -> StoredObject
    func removeUpload(_ upload: String) async throws
    /// The uploads that have stored parts.
    func uploads() async throws -> [String]

    /// Removes (or, in a dry run, only counts) the content that is neither held nor needed. Both questions are asked after the collection has begun:
    /// `needed` once, `alsoNeeded` for the digests that begin with two hexadecimal digits at a time, so that they need not all be in memory.
    /// - Throws: `failedPrecondition` while another collection is under way.
    func collect(
        dryRun: Bool, needed: @Sendable () async throws -> Set<Digest>, alsoNeeded: @Sendable (_ prefix: String) async throws -> Set<Digest>
    ) async throws -> Collected
}

/// Content that is in the store.
public struct StoredObject: Sendable, Hashable {
    public let digest: Digest
    public let bytes: Int64
    public init(digest: Digest, bytes: Int64) { (self.digest, self.bytes) = (digest, bytes) }
}

/// How large content may be, and how large it was said to be.
public struct ContentSize: Sendable {
    public let declared: Int64?
    public let max: Int64

    /// - Throws: `payloadTooLarge` when more is declared than may be.
    public init(declared: Int64? = nil, max: Int64) throws(KeelError) {
        (self.declared, self.max) = (declared, max)
        if let declared { try check(atMost: declared) }
    }

    func check(atMost bytes: Int64) throws(KeelError) {
        guard bytes > max else { return }
        throw KeelError(
            .payloadTooLarge, "the content has more than the \(max) bytes that an artifact may have",
            hint: "the setting limits.artifact raises this limit")
    }

    func check(whole bytes: Int64) throws(KeelError) {
        guard let declared, declared != bytes else { return }
        throw .invalid("\(bytes) bytes arrived where \(declared) were announced", hint: "send the content again")
    }
}

/// How many things were removed, or would be, and their bytes.
public struct Collected: Sendable, Hashable {
    public var objects: Int
    public var bytes: Int64
    public init(objects: Int = 0, bytes: Int64 = 0) { (self.objects, self.bytes) = (objects, bytes) }

    public static func += (a: inout Collected, b: Collected) {
        a.objects += b.objects
        a.bytes += b.bytes
    }
}
