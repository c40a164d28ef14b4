import Contracts

/// A JSON Web Token in its compact form (RFC 7519, RFC 7515), taken apart and not yet believed.
package struct WebToken {
    let algorithm: String
    /// Which key of the issuer signed it.
    let keyID: String?
    package let claims: JSON
    let signature: [UInt8]
    /// What was signed: the first two parts as they were sent.
    let signed: [UInt8]

    /// What a token may have at most.
    static let bytesMax = 16 << 10
    /// Types of tokens that say who calls. Others, such as those that end a session, have the same issuer and audience.
    private static let types: Set<String> = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"]

    /// Whether a credential means to be one: the base64 of `{` begins it.
    static func isLike(_ credential: String) -> Bool { credential.hasPrefix("ey") && credential.utf8.contains(UInt8(ascii: ".")) }

    /// - Throws: `unauthenticated` with what is wrong.
    package init(_ credential: String) throws(KeelError) {
        let parts = credential.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3 else {
            throw .refusedToken(
                parts.count == 5 ? "it is encrypted" : "it has \(parts.count) parts and not 3", hint: "a signed token is needed (RFC 7515)")
        }
        let header = try WebToken.object(parts[0], "header")
        guard let algorithm = header["alg"]?.string else { throw .refusedToken("its header names no algorithm (alg)") }
        guard header["crit"] == nil else { throw .refusedToken("its header demands extensions (crit) that are not known here") }
        if let type = header["typ"] {
            guard let text = type.string, WebToken.types.contains(text.lowercased()) else {
                throw .refusedToken("a token of the type '\((type.string ?? type.text).shown)' does not say who calls")
            }
        }
        var keyID: String?
        if let kid = header["kid"] {
            guard let text = kid.string else { throw .refusedToken("the name of its key (kid) is not a text") }
            keyID = text
        }
        guard let signature = Base64URL.decode(parts[2]) else { throw .refusedToken("its signature is not base64url") }
        self.algorithm = algorithm
        self.keyID = keyID
        self.claims = try WebToken.object(parts[1], "claims")
        self.signature = signature
        self.signed = Array(credential.utf8.prefix(parts[0].utf8.count + 1 + parts[1].utf8.count))
    }

    /// The JSON object of a part. One that has a member twice is refused: readers differ in which of them counts.
    private static func object(_ part: Substring, _ name: String) throws(KeelError) -> JSON {
        guard let bytes = Base64URL.decode(part) else { throw .refusedToken("its \(name) is not base64url") }
        let json: JSON
        do throws(KeelError) { json = try JSON.parse(bytes) } catch {
            throw .refusedToken("its \(name) is not valid JSON: \(error.message)")
        }
        guard json.members != nil else { throw .refusedToken("its \(name) is \(json.kind) and not an object") }
        return json
    }
}

extension KeelError {
    /// The refusal of a token, with what is wrong with it.
    static func refusedToken(_ what: String, hint: String? = nil) -> KeelError {
        KeelError(.unauthenticated, "the token is not valid: \(what)", hint: hint)
    }
}

extension String {
    /// A text that somebody else wrote, for a message.
    var shown: String { String(prefix(100)).visible() }
}
