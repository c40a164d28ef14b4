import Contracts
import Dispatch
import Outgoing
import Testing

@Suite("Addresses that may be called")
struct OutgoingTests {
    @Test(
        "addresses of this machine, of networks and of special ranges are not public, in whatever notation",
        arguments: [
            "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.255", "169.254.169.254", "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:192.168.0.1", "64:ff9b::10.0.0.1",
            "64:ff9b:1::1", "100::1", "2001::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::", "3fff::1", "fc00::1",
            "fd12::1",
            "fe80::1", "fec0::1", "ff02::1", "4000::1", "5f00::1",
        ])
    func internalAddresses(text: String) throws {
        #expect(try #require(NetworkAddress(literal: text)).isPublic == false)
    }

    @Test(
        "others are",
        arguments: [
            "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "198.17.0.1", "223.255.255.255",
            "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::",
        ])
    func publicAddresses(text: String) throws {
        #expect(try #require(NetworkAddress(literal: text)).isPublic)
    }

    @Test(
        "legacy spellings of numbers are no literals",
        arguments: ["127.1", "0177.0.0.1", "2130706433", "0x7f.0.0.1", "127.0.0.1.", "1.2.3.4.5", ""])
    func spellings(text: String) {
        #expect(NetworkAddress(literal: text) == nil)
    }

    @Test(
        "what is wrong with a URL is said in MLflow's words",
        arguments: [
            ("no url", "scheme: ''"), ("//h/", "scheme: ''"), ("https", "scheme: ''"), ("1https://h/", "scheme: ''"),
            ("FTP://h/ü", "scheme: 'ftp'"), (" https://h/", "scheme: ''"), ("https:///x", "must include a hostname: 'https:///x'"),
            ("https://", "must include a hostname: 'https://'"), ("https://:443/", "must include a hostname: 'https://:443/'"),
            ("https://[::1", "Invalid webhook URL 'https://[::1'"), ("https://h/a b", "Invalid webhook URL 'https://h/a b'"),
        ])
    func faults(url: String, words: String) {
        let error = #expect(throws: KeelError.self) { _ = try OutgoingTarget(url, schemes: ["https"]) }
        #expect(error?.message.contains(words) == true, "\(String(describing: error))")
    }

    @Test("an issuer's URL is refused in words of its own")
    func issuers() {
        for (url, words) in [("http://h", "Invalid issuer URL scheme: 'http'"), ("https:///x", "Issuer URL must include a hostname")] {
            let error = #expect(throws: KeelError.self) { _ = try OutgoingTarget(url, schemes: ["https"], for: .issuer) }
            #expect(error?.message.contains(words) == true && error?.hint?.contains("webhooks") != true)
        }
    }

    @Test("the system's names")
    func resolved() async throws {
        #expect(try OutgoingTarget("HTTPS://LocalHost:8443/x", schemes: ["https"]).host == "localhost")
        let addresses = try await SystemResolver().addresses(of: "localhost")
        #expect(!addresses.isEmpty && addresses.allSatisfy { !$0.isPublic })
        #expect(try await SystemResolver().addresses(of: "8.8.8.8").map(\.description) == ["8.8.8.8"])
        let error = await #expect(throws: KeelError.self) { _ = try await SystemResolver().addresses(of: "no-such-host.invalid") }
        #expect(error?.code == .unavailable)
    }

    @Test("a look-up that does not end is given up, and many of them take no more threads than allowed")
    func endless() async throws {
        let end = DispatchSemaphore(value: 0)
        let resolver = SystemResolver(limit: .milliseconds(50)) { _ in
            end.wait()
            return []
        }
        var messages: [String] = []
        for i in 0..<17 {
            let error = await #expect(throws: KeelError.self) { _ = try await resolver.addresses(of: "host\(i).example") }
            #expect(error?.code == .unavailable)
            messages.append(error?.message ?? "")
        }
        #expect(messages.prefix(16).allSatisfy { $0.contains("no answer in time") } && messages[16].contains("under way"))
        for _ in 0..<16 { end.signal() }
    }
}
