import Console
import Contracts
import HTTPTypes
import Synchronization
import Testing
import WebAPI

private final class HandClock: Clock {
    private let time = Mutex(Timestamp(seconds: 1_000_000))
    func now() -> Timestamp { time.withLock { $0 } }
    func pass(_ span: TimeSpan) { time.withLock { $0 = $0 + span } }
}

@Suite("Sessions of browsers")
struct SessionTests {
    @Test("a session lasts as long as it is used, and twelve hours at most")
    func life() {
        let clock = HandClock()
        let sessions = BrowserSessions(prefix: "/console", clock: clock)
        let cookie = Digest(of: sessions.begin("token"))
        for _ in 0..<7 {
            clock.pass(.hours(1))
            #expect(sessions.credential(cookie) == "token")
        }
        clock.pass(.hours(2))
        #expect(sessions.credential(cookie) == nil)
        let other = Digest(of: sessions.begin("token"))
        for _ in 0..<11 {
            clock.pass(.hours(1))
            #expect(sessions.credential(other) == "token")
        }
        clock.pass(.hours(1))
        #expect(sessions.credential(other) == nil && sessions.count == 0)
    }

    @Test("a session ends when its holder signs out, and no other with it")
    func end() {
        let sessions = BrowserSessions(prefix: "/console", clock: HandClock())
        let first = Digest(of: sessions.begin("a"))
        let second = Digest(of: sessions.begin("b"))
        sessions.end(first)
        #expect(sessions.credential(first) == nil && sessions.credential(second) == "b")
    }

    @Test("there are no more sessions than fit: the one that was not used for the longest ends")
    func bound() {
        let clock = HandClock()
        let sessions = BrowserSessions(prefix: "/console", clock: clock)
        let first = Digest(of: sessions.begin("first"))
        let second = Digest(of: sessions.begin("second"))
        clock.pass(.seconds(1))
        for _ in 0..<(BrowserSessions.sessionsMax - 2) { _ = sessions.begin("x") }
        clock.pass(.seconds(1))
        #expect(sessions.credential(first) == "first")
        _ = sessions.begin("one more")
        #expect(sessions.count == BrowserSessions.sessionsMax)
        #expect(sessions.credential(first) == "first" && sessions.credential(second) == nil)
    }

    @Test(
        "the cookie is for the console's pages alone",
        arguments: [
            ("/console", true), ("/console?x=1", true), ("/console/endpoints/a", true), ("/consoles", false), ("/api/v1/endpoints", false),
            ("/", false),
            ("/v2/models/console/infer", false), ("/api/v1/console", false),
        ])
    func covered(path: String, expected: Bool) { #expect(BrowserSessions(prefix: "/console").covers(path) == expected) }

    @Test("the cookie is found by its whole name, among others")
    func cookies() {
        func found(_ cookie: String) -> String? {
            BrowserSessions.cookie(
                "keel_session_7070", of: HTTPRequest(method: .get, scheme: nil, authority: nil, path: "/", headerFields: [.cookie: cookie]))
        }
        #expect(found("keel_session_7070=abc") == "abc" && found("a=b; keel_session_7070=abc; c=d") == "abc")
        #expect(
            found("keel_session_70700=abc") == nil && found("xkeel_session_7070=abc") == nil && found("keel_session_7070=") == nil
                && found("") == nil)
    }
}

@Suite("Forms of the console")
struct FormProofTests {
    private let proof = FormProof(key: "k")
    private let session = Digest(of: "cookie")

    @Test("a form is taken from the one and for the workspace that it was made for, and from nobody else")
    func bound() throws {
        let ada = Caller(name: "ada", persona: .mlEngineer)
        let token = proof.token(session: session, ada)
        try proof.require(token, session: session, ada)
        // The request of a form is another one than that of its page.
        try proof.require(token, session: session, ada.with(requestID: "other"))
        let elsewhere = Caller(name: "ada", persona: .mlEngineer, workspace: WorkspaceID(stored: "fraud"))
        for (given, session, caller) in [
            ("", session, ada), (String(token.dropLast()), session, ada), (token, nil, ada), (token, Digest(of: "another"), ada),
            (token, session, elsewhere),
            (token, session, Caller(name: "bob", persona: .owner)),
        ] as [(String, Digest?, Caller)] {
            #expect(throws: KeelError.self) { try proof.require(given, session: session, caller) }
        }
        #expect(throws: KeelError.self) { try FormProof(key: "restarted").require(token, session: session, ada) }
    }

    @Test(
        "after signing in one comes to a page of the console, whatever the address says",
        arguments: [
            ("/console/endpoints?q=a", "/console/endpoints?q=a"), ("/console", "/console"), ("//evil.example/console", "/console"),
            ("https://evil.example/console/", "/console"), ("/consolex", "/console"), ("/console/\\evil", "/console"),
            ("/console/sign-in", "/console"),
            ("/console/a\r\nX: y", "/console"),
        ])
    func destination(given: String, expected: String) { #expect(SignIn.destination(given) == expected) }
}
