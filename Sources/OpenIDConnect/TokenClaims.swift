import Contracts
import Governance

/// What a token of an issuer says of its holder, checked against the issuer's settings and the time.
package struct TokenClaims {
    let principal: Principal
    /// When the token is no longer good.
    let until: Timestamp

    private static let nameBytesMax = 256
    private static let actorsMax = 8

    /// - Throws: `unauthenticated` with what is wrong.
    package init(_ claims: JSON, of issuer: OpenIDIssuer, at now: Timestamp) throws(KeelError) {
        try TokenClaims.checkAudience(claims, issuer)
        guard let end = try TokenClaims.time("exp", claims) else { throw .refusedToken("it does not say when it expires (exp)") }
        guard now < end + issuer.skew else { throw .refusedToken("it expired at \(end)", hint: "get a new one from '\(issuer.name)'") }
        if let start = try TokenClaims.time("nbf", claims), start - issuer.skew > now {
            throw .refusedToken("it is not valid before \(start)", hint: TokenClaims.clockHint)
        }
        let issued = try TokenClaims.time("iat", claims)
        if let issued, issued - issuer.skew > now {
            throw .refusedToken("it was issued in the future, at \(issued)", hint: TokenClaims.clockHint)
        }
        let groups = try TokenClaims.groups(claims, issuer)
        var until = end + issuer.skew
        if !groups.isEmpty { until = min(until, try TokenClaims.endOfGroups(issued, issuer, at: now)) }
        self.until = until
        principal = Principal(
            name: "\(issuer.name):\(try TokenClaims.subject(claims, "its subject (sub)"))", persona: .member, workspace: issuer.workspace,
            groups: groups.map { "\(issuer.name):\($0)" }, actors: try TokenClaims.actors(claims, issuer))
    }

    private static let clockHint = "is the clock of this machine right?"

    private static func checkAudience(_ claims: JSON, _ issuer: OpenIDIssuer) throws(KeelError) {
        let named: [String]
        switch claims["aud"] {
        case .string(let one): named = [one]
        case .array(let list): named = list.compactMap(\.string)
        default: throw .refusedToken("it does not say whom it is for (aud)")
        }
        guard named.contains(where: issuer.audiences.contains) else {
            throw .refusedToken(
                "it is for \(named.prefix(5).map { "'\($0.shown)'" }.joined(separator: ", ")) and not for this server",
                hint: "the setting oidc.issuers.\(issuer.name).audience lists what is taken")
        }
    }

    /// A time in seconds since 1970; nil when the claim is missing.
    private static func time(_ claim: String, _ claims: JSON) throws(KeelError) -> Timestamp? {
        guard let value = claims[claim] else { return nil }
        guard let seconds = value.number, seconds.isFinite else { throw .refusedToken("its claim '\(claim)' is not a number of seconds") }
        return Timestamp(seconds: seconds)
    }

    /// Until when the groups of a token count. A token does not hear of a group that its holder loses.
    private static func endOfGroups(_ issued: Timestamp?, _ issuer: OpenIDIssuer, at now: Timestamp) throws(KeelError) -> Timestamp {
        guard let issued else { throw .refusedToken("it names groups, and does not say when it was issued (iat)") }
        let end = issued + issuer.groupsAge + issuer.skew
        guard now < end else {
            throw .refusedToken(
                "it was issued at \(issued), and its groups count for \(issuer.groupsAge)",
                hint: "get a new one from '\(issuer.name)'; the setting oidc.issuers.\(issuer.name).age says how long groups count")
        }
        return end
    }

    private static func groups(_ claims: JSON, _ issuer: OpenIDIssuer) throws(KeelError) -> [String] {
        let groups: [String]
        switch value(of: issuer.groupsClaim, in: claims) {
        case nil, .null: return []
        case .string(let one): groups = [one]
        case .array(let list):
            groups = list.compactMap(\.string)
            guard groups.count == list.count else { throw .refusedToken("its claim '\(issuer.groupsClaim)' does not list texts") }
        case .some(let other): throw .refusedToken("its claim '\(issuer.groupsClaim)' is \(other.kind) and not a list of texts")
        }
        return groups.filter { !$0.isEmpty }
    }

    /// The claim of this name; where there is none, what its parts between dots lead to, as in `realm_access.roles`.
    private static func value(of claim: String, in claims: JSON) -> JSON? {
        if let direct = claims[claim] { return direct }
        var value = claims
        for part in claim.split(separator: ".") {
            guard let inner = value[String(part)] else { return nil }
            value = inner
        }
        return value
    }

    private static func subject(_ claims: JSON, _ place: String) throws(KeelError) -> String {
        guard let text = claims["sub"]?.string, !text.isEmpty else { throw .refusedToken("\(place) is missing") }
        guard text.utf8.count <= nameBytesMax, text.visible() == text else {
            throw .refusedToken("\(place) is longer than \(nameBytesMax) bytes or holds control characters")
        }
        return text
    }

    /// Who acts in the subject's name, the nearest first (RFC 8693, section 4.1).
    private static func actors(_ claims: JSON, _ issuer: OpenIDIssuer) throws(KeelError) -> [String] {
        var actors: [String] = []
        var next = claims["act"]
        while let actor = next {
            guard actors.count < actorsMax else { throw .refusedToken("more than \(actorsMax) act for one another in it (act)") }
            let name = try subject(actor, "the subject of who acts (act)")
            if let other = actor["iss"], other.string != issuer.url {
                guard let url = other.string, url.utf8.count <= nameBytesMax, url.visible() == url else {
                    throw .refusedToken("the issuer of who acts (act) is not valid")
                }
                actors.append("\(url):\(name)")
            } else {
                actors.append("\(issuer.name):\(name)")
            }
            next = actor["act"]
        }
        return actors
    }
}
