import Contracts
import HTTPTypes
import Synchronization

/// People who signed in with a token in a browser, and the pages that their cookie is good for.
///
/// A session holds the token it began with, in memory only, and asks for it again with every request: it ends when the token is revoked, rotated out or
/// expired, and with the process. Of the cookie's value only the digest is kept. The cookie lets nobody into any API: `covers` says for which paths it counts.
public final class BrowserSessions: Sendable {
    public static let sessionsMax = 1000
    /// How long a session lasts at most, and without a request.
    public static let life = TimeSpan.hours(12)
    public static let idleMax = TimeSpan.hours(2)

    private struct Session {
        let credential: String
        let startedAt: Timestamp
        var usedAt: Timestamp

        func isGood(at now: Timestamp) -> Bool { now < startedAt + BrowserSessions.life && now < usedAt + BrowserSessions.idleMax }
    }
    private let sessions = Mutex<[Digest: Session]>([:])
    private let clock: any Clock
    private let prefix: String

    /// - Parameter prefix: of the paths that the cookie is good for: `/console`.
    public init(prefix: String, clock: any Clock = SystemClock()) {
        self.prefix = prefix
        self.clock = clock
    }

    /// Whether the path is one of the pages that sessions are for.
    public func covers(_ path: some StringProtocol) -> Bool {
        let bare = path.prefix { $0 != "?" }
        return bare == prefix || bare.hasPrefix(prefix + "/")
    }

    /// Begins a session; the least recently used one ends when there are too many.
    /// - Returns: the cookie's value, which is kept nowhere.
    package func begin(_ credential: String) -> String {
        let secret = Identifier.hex32() + Identifier.hex32()
        let now = clock.now()
        sessions.withLock { sessions in
            sessions = sessions.filter { $0.value.isGood(at: now) }
            if sessions.count >= BrowserSessions.sessionsMax, let oldest = sessions.min(by: { $0.value.usedAt < $1.value.usedAt }) {
                sessions[oldest.key] = nil
            }
            sessions[Digest(of: secret)] = Session(credential: credential, startedAt: now, usedAt: now)
        }
        return secret
    }

    /// The token of a session that goes on; nil when it has ended.
    package func credential(_ session: Digest) -> String? {
        let now = clock.now()
        return sessions.withLock { sessions in
            guard let found = sessions[session], found.isGood(at: now) else {
                sessions[session] = nil
                return nil
            }
            sessions[session]?.usedAt = now
            return found.credential
        }
    }

    public func end(_ session: Digest) { sessions.withLock { $0[session] = nil } }

    public var count: Int { sessions.withLock { $0.count } }

    // MARK: Cookies

    /// Cookies are shared by the ports of a host, so their names tell servers apart.
    public static func cookieName(port: Int) -> String { "keel_session_\(port)" }
    /// The workspace that pages show when their address names none.
    public static func workspaceCookieName(port: Int) -> String { "keel_workspace_\(port)" }

    /// The session that a request's cookie names, by its digest; nil without the cookie.
    public static func session(of request: HTTPRequest, port: Int) -> Digest? {
        cookie(cookieName(port: port), of: request).map { Digest(of: $0) }
    }

    /// The value of a cookie; nil when there is none, or only an empty one.
    public static func cookie(_ name: String, of request: HTTPRequest) -> String? {
        for field in request.headerFields[values: .cookie] {
            for pair in field.split(separator: ";") {
                let bare = pair.drop { $0 == " " }
                if bare.hasPrefix(name + "="), bare.utf8.count > name.utf8.count + 1 { return String(bare.dropFirst(name.count + 1)) }
            }
        }
        return nil
    }
}
