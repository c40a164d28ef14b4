import Contracts
import Outgoing

/// An identity provider whose tokens are taken, as the settings describe it.
public struct OpenIDIssuer: Sendable, Hashable {
    /// The short name that goes before the names of its people, jobs and groups: `people:alice`.
    public let name: String
    /// The `iss` of its tokens, to the letter, and where its discovery document is found.
    public let url: String
    /// A token must be for one of these.
    public let audiences: [String]
    /// The claim that lists the groups; a path with dots where no claim has the whole name.
    public let groupsClaim: String
    /// How far its clock may be from the server's.
    public let skew: TimeSpan
    /// How old a token may be whose groups count: so long can somebody who lost a group keep what it gave.
    public let groupsAge: TimeSpan
    /// The workspace of its principals unless a request names another.
    public let workspace: WorkspaceID
    public let algorithms: Set<SignatureAlgorithm>

    public static let standardSkew = TimeSpan.seconds(60)
    public static let standardGroupsAge = TimeSpan.seconds(300)
    public static let skewMax = TimeSpan.seconds(600)
    public static let groupsAgeMax = TimeSpan.days(1)

    /// - Parameter schemes: the schemes that its URL may have.
    /// - Throws: `invalidArgument` with the name of the field as its path.
    public init(
        name: String, url: String, audiences: [String], groupsClaim: String = "groups", skew: TimeSpan = standardSkew,
        groupsAge: TimeSpan = standardGroupsAge, workspace: WorkspaceID = .default,
        algorithms: Set<SignatureAlgorithm> = Set(SignatureAlgorithm.allCases), schemes: [String] = ["https"]
    ) throws(KeelError) {
        guard OpenIDIssuer.isName(name) else {
            throw .invalid("'\(name.prefix(60))' is not a name of an issuer", hint: "use 1 to 40 letters, digits, '-' or '_'", path: "name")
        }
        do throws(KeelError) { _ = try OutgoingTarget(url, schemes: schemes, for: .issuer) } catch { throw error.at("url") }
        guard !url.contains("?"), !url.contains("#") else {
            throw .invalid("the URL of an issuer has no query and no fragment", path: "url")
        }
        guard !audiences.isEmpty, !audiences.contains("") else {
            throw .invalid(
                "it names no audience, so a token for any other program would be taken",
                hint: "name what the issuer writes into 'aud' of tokens for Keel", path: "audience")
        }
        guard !groupsClaim.isEmpty else { throw .invalid("the name of a claim is empty", path: "groups") }
        guard skew <= OpenIDIssuer.skewMax else { throw .invalid("it is more than \(OpenIDIssuer.skewMax)", path: "skew") }
        guard groupsAge <= OpenIDIssuer.groupsAgeMax else { throw .invalid("it is more than \(OpenIDIssuer.groupsAgeMax)", path: "age") }
        guard !algorithms.isEmpty else { throw .invalid("it allows no algorithm", path: "algorithms") }
        self.name = name
        self.url = url
        self.audiences = audiences
        self.groupsClaim = groupsClaim
        self.skew = skew
        self.groupsAge = groupsAge
        self.workspace = workspace
        self.algorithms = algorithms
    }

    /// Where its discovery document is (OpenID Connect Discovery 1.0, section 4).
    var discoveryURL: String { (url.hasSuffix("/") ? String(url.dropLast()) : url) + "/.well-known/openid-configuration" }

    private static func isName(_ text: String) -> Bool {
        (1...40).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                ($0 >= 48 && $0 <= 57) || ($0 >= 65 && $0 <= 90) || ($0 >= 97 && $0 <= 122) || $0 == 45 || $0 == 95
            }
    }
}
