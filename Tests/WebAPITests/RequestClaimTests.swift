import NIOHTTP1
import Testing

import WebAPI

@Suite("Claims of repeated heads")
struct RequestClaimTests {
    private func head(_ fields: [(String, String)], _ method: HTTPMethod = .POST, _ uri: String = "/v2/models/x/infer") -> HTTPRequestHead {
        HTTPRequestHead(version: .http1_1, method: method, uri: uri, headers: HTTPHeaders(fields))
    }
    private let usual = [("Host", "127.0.0.1:80"), ("Content-Type", "application/json"), ("Content-Length", "12"), ("X-Request-Id", "a")]

    @Test("a head with another length of the body, another trace or another request id claims the same")
    func same() {
        #expect(head(usual).claimsTheSame(as: head(usual)))
        var others = usual
        others[2].1 = "13"
        others[3].1 = "b"
        #expect(head(others).claimsTheSame(as: head(usual)))
        #expect(head(usual + [("traceparent", "00-1")]).claimsTheSame(as: head(usual + [("traceparent", "00-2")])))
    }

    @Test("any other difference has the head read again")
    func different() {
        #expect(!head(usual, .GET).claimsTheSame(as: head(usual)))
        #expect(!head(usual, .POST, "/v2/models/y/infer").claimsTheSame(as: head(usual)))
        for i in usual.indices.dropLast(2) {
            var others = usual
            others[i].1 += "x"
            #expect(!head(others).claimsTheSame(as: head(usual)))
        }
        var empty = usual
        empty[2].1 = "0"
        #expect(!head(empty).claimsTheSame(as: head(usual)) && !head(usual).claimsTheSame(as: head(empty)))
        for added in ["Origin", "Authorization", "X-Forwarded-For", "Keel-Workspace", "traceparent"] {
            #expect(!head(usual + [(added, "x")]).claimsTheSame(as: head(usual)) && !head(usual).claimsTheSame(as: head(usual + [(added, "x")])))
            #expect(!head(usual + [(added, "x")]).claimsTheSame(as: head(usual + [("X-Other", "x")])))
        }
    }
}
