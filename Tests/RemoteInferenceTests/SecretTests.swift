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
        let secret = try RemoteSecrets(folder: folder).secret("a", for: "https://models.example:443", in: .default)
        #expect(secret.header == "Authorization" && secret.value == "Bearer abc")
        try write("b", #"{"url": "https://models.example:8443", "token": "abc", "header": "api-key"}"#)
        let own = try RemoteSecrets(folder: folder).secret("b", for: "https://models.example:8443", in: .default)
        #expect(own.header == "api-key" && own.value == "abc")
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
            _ = try RemoteSecrets(folder: folder).secret("a", for: "https://models.example:443", in: .default)
        }
        #expect(error?.code == .failedPrecondition && error?.description.contains("t0k3n") == false && error?.message.contains("'a'") == true)
    }
}
