import Contracts

/// One resource that names another.
package struct ResourceReference: Hashable, Sendable {
    /// What is named, and where in the resource that names it.
    package struct Target: Hashable, Sendable {
        /// `spec.features`
        package let field: String
        package let kind: String
        /// As `ResourceRef.qualifiedName` writes it.
        package let name: String
        /// Whether a set of resources without the named one is refused.
        package let isRequired: Bool

        package init(_ field: String, _ kind: String, _ name: String, required: Bool = false) {
            self.field = field
            self.kind = kind
            self.name = name
            isRequired = required
        }
    }

    /// The one that names.
    package let from: ResourceRef
    package let target: Target

    /// The one that is named, in the same workspace.
    package let to: ResourceRef

    /// The named kind in the words of a message: `feature service`.
    var word: String {
        target.kind.reduce(into: "") { $0 += $1.isUppercase && !$0.isEmpty ? " \($1.lowercased())" : $1.lowercased() }
    }
}
