import Contracts
import Foundation
import Testing
import Workers

@Suite("Users of programs") struct ProgramUsersTests {
    @Test("a range exists where one line of the map covers all of it")
    func maps() {
        let users = ProgramUsers(first: 1000, count: 100)
        let whole = "         0          0 4294967295\n"
        #expect(ProgramUsers.covers(whole, users))
        #expect(ProgramUsers.covers("0 100000 1\n1000 200000 100\n", users))
        for map in ["", "0 100000 1099\n", "1001 0 500\n", "0 0 1050\n1050 0 1000\n", "0 1000\n", "x y z\n"] {
            #expect(!ProgramUsers.covers(map, users), "\(map)")
        }
        #expect(ProgramUsers.covers(whole, ProgramUsers(first: 4_294_967_000, count: 200)))
        #expect(!ProgramUsers.covers("0 0 65536", ProgramUsers(first: 65_000, count: 600)))
    }

    @Test("a user is taken once at a time, on the whole machine, and a range that is used up says so")
    func leases() throws {
        let first = 1_950_000_000 + uid_t(getpid())
        let users = ProgramUsers(first: first, count: 2)
        var taken: [ProgramUserLease]? = [try users.take(), try users.take()]
        #expect(Set(taken?.map(\.user.uid) ?? []) == [first, first + 1])
        #expect(ProgramUserLease(first) == nil)
        let error = #expect(throws: KeelError.self) { _ = try users.take() }
        #expect(error?.code == .unavailable)
        taken = nil
        #expect(ProgramUserLease(first) != nil)
        // A user that has processes is not taken, whoever started them.
        let own = ProgramUsers(first: geteuid(), count: 1)
        #expect(throws: KeelError.self) { _ = try own.take() }
    }
}
