import Contracts
import Foundation
import RemoteInference
import Testing

@Suite("Secrets of servers that run models")
struct SecretTests {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("keel-secrets-\(UUID().uuidString)").path

    private func write(_ name: String, _ text: String) throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try Data(text.utf8).write(to: URL(fileURLWithPath: folder + "/" + name))
    }

    @Test("a secret is sent to the server that its file names, whatever the case and the port that is left out")
    func found() throws {
        try write("a", #"{"url": "HTTPS://Models.example/v1", "token": "abc"}"#)
        let secret = try RemoteSecrets(folder: folder).secret("a", for: "https://models.example:443", path: "/v1", in: .default)
        #expect(secret.header == "Authorization" && secret.value == "Bearer abc")
        try write("b", #"{"url": "https://models.example:8443", "token": "abc", "header": "api-key"}"#)
        let own = try RemoteSecrets(folder: folder).secret("b", for: "https://models.example:8443", path: "/any", in: .default)
        #expect(own.header == "api-key" && own.value == "abc")
    }

    @Test("it is sent to what lies below its path, part by part, and to no path that a server could read in another way")
    func paths() throws {
        try write("a", #"{"url": "https://models.example/team/one/", "token": "t0k3n"}"#)
        func error(_ path: String, in name: String = "a") -> KeelError? {
            do throws(KeelError) {
                _ = try RemoteSecrets(folder: folder).secret(name, for: "https://models.example:443", path: path, in: .default)
                return nil
            } catch { return error }
        }
        for path in ["/team/one", "/team/one/", "/team/one/v1"] { #expect(error(path) == nil, "\(path)") }
        let others = [
            "", "/", "/team", "/team/two", "/team/one2", "/team/onex/v1", "/Team/one", "/other", "/team/one/../two", "/team/one/%2e%2e/two", "/team/one/.%2E/two",
            "/team/one/..%2ftwo", "/team/one/%2Ftwo", "/team/one/..;/two", "/team/one/x%5c..", "//team/one", "/team//one", "/team/one//two", "/team/one/./x", "/team/%6fne",
            "/team/one/%",
        ]
        for path in others {
            let error = error(path)
            #expect(error?.code == .failedPrecondition && error?.message.contains("another path") == true, "\(path)")
            #expect(error?.description.contains("t0k3n") == false)
        }
        // Without a path it is the server's.
        try write("b", #"{"url": "https://models.example", "token": "t0k3n"}"#)
        for path in ["", "/", "/team/two"] { #expect(error(path, in: "b") == nil, "\(path)") }
    }

    @Test(
        "one that is not for this server, not for this workspace or not readable is refused, and the message holds nothing of it",
        arguments: [
            #"{"url": "https://other.example", "token": "t0k3n"}"#, #"{"url": "http://models.example:443", "token": "t0k3n"}"#,
            #"{"url": "https://models.example", "token": "t0k3n", "workspaces": ["other"]}"#, #"{"url": "https://models.example", "tokne": "t0k3n"}"#,
            #"{"url": "https://models.example", "token": "t0k3n\r\nHost: x"}"#, #"{"url": "https://models.example", "token": "t0k3n"#,
            #"{"url": "https://models.example", "token": ["t0k3n"]}"#, #"{"url": "https://models.example", "token": ""}"#, "t0k3n",
        ])
    func refused(text: String) throws {
        try write("a", text)
        let error = #expect(throws: KeelError.self) {
            _ = try RemoteSecrets(folder: folder).secret("a", for: "https://models.example:443", path: "", in: .default)
        }
        #expect(error?.code == .failedPrecondition && error?.description.contains("t0k3n") == false && error?.message.contains("'a'") == true)
    }
}
