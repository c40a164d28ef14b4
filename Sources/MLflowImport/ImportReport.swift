import Contracts
import Importing

/// What an import found and did, by kind.
public struct ImportReport: Sendable {
    public struct Count: Sendable {
        /// What the foreign store has.
        public var source = 0
        /// What was there already.
        public var same = 0
        /// What was brought, or (rehearsing) would be.
        public var new = 0
        /// What had changed in the foreign store and was brought again, or would be.
        public var changed = 0
        /// What was changed in Keel since it was imported, and stays as it is there.
        public var changedHere = 0
        /// What Keel has under this name from elsewhere, and stays as it is there.
        public var conflict = 0

        mutating func add(_ state: ImportState) {
            source += 1
            switch state {
            case .same: same += 1
            case .new: new += 1
            case .changed: changed += 1
            case .changedHere: changedHere += 1
            case .conflict: conflict += 1
            }
        }
    }

    /// In the order of the import.
    public static let kinds = [
        "experiments", "runs", "metric points", "logged models", "model metric points", "evaluation datasets", "evaluation records",
        "models", "versions", "aliases", "artifact files",
    ]

    public internal(set) var source = ""
    public internal(set) var schema = ""
    public internal(set) var counts: [String: Count] = [:]
    public internal(set) var artifactBytes: Int64 = 0
    /// What differs between the two sides after the import.
    public internal(set) var mismatches = Lines()
    /// What was left where it is, and why.
    public internal(set) var notBrought = Lines()
    /// What is otherwise than in the foreign store, such as an experiment's number.
    public internal(set) var notes = Lines()
    /// Whether both sides were compared at the end.
    public internal(set) var isVerified = false

    /// Lines for people; only the first of very many are kept.
    public struct Lines: Sendable {
        public private(set) var first: [String] = []
        public private(set) var count = 0
        static let keptMax = 1000
        mutating func add(_ line: String) {
            if count < Lines.keptMax { first.append(line) }
            count += 1
        }
    }

    /// Whether everything that the foreign store has and Keel can hold is there.
    public var isComplete: Bool { mismatches.count == 0 && counts.values.allSatisfy { $0.conflict == 0 } }

    public var json: JSON {
        [
            "source": .string(source), "schema": .string(schema), "verified": .bool(isVerified),
            "kinds": .object(
                ImportReport.kinds.compactMap { kind in
                    counts[kind].map { count in
                        JSON.Member(
                            kind.replacing(" ", with: "_"),
                            [
                                "source": .int(Int64(count.source)), "same": .int(Int64(count.same)), "new": .int(Int64(count.new)),
                                "changed": .int(Int64(count.changed)), "changed_here": .int(Int64(count.changedHere)),
                                "conflict": .int(Int64(count.conflict)),
                            ])
                    }
                }),
            "artifact_bytes": .int(artifactBytes), "mismatches": .array(mismatches.first.map(JSON.string)),
            "mismatch_count": .int(Int64(mismatches.count)), "not_brought": .array(notBrought.first.map(JSON.string)),
            "not_brought_count": .int(Int64(notBrought.count)), "notes": .array(notes.first.map(JSON.string)),
        ]
    }
}

/// How far one kind of things has come.
public struct ImportProgress: Sendable {
    public let kind: String
    /// Whether things are compared rather than brought.
    public let isVerifying: Bool
    public let done: Int64
    /// Nil when it is not known beforehand.
    public let total: Int64?
}
