import Contracts
import Storage
import Testing

@Suite("libpq")
struct PostgresLibraryTests {
    @Test("a machine without libpq is told what to install")
    func missing() {
        let error = #expect(throws: KeelError.self) { try PostgresLibrary(path: "/nonexistent/libpq.so.5") }
        #expect(error?.code == .engineMissing)
        #expect(error?.message.contains("/nonexistent/libpq.so.5") == true)
        #expect(error?.hint?.contains("libpq5") == true)
    }

    @Test("a library that is not libpq is named with what it lacks")
    func wrong() {
        let error = #expect(throws: KeelError.self) { try PostgresLibrary(path: "libm.so.6") }
        #expect(error?.message.contains("PQconnectdb") == true)
    }
}
