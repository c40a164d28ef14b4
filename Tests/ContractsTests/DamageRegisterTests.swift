import Contracts
import Testing

@Suite("Damage register")
struct DamageRegisterTests {
    @Test("a finding is kept once, told once, and what a configuration met goes when the next one does not meet it")
    func findings() async {
        let register = DamageRegister()
        let lost = KeelError(.corrupted, "bytes are lost", hint: "restore")
        register.report("Dataset/a", lost)
        register.report("Dataset/a", lost)
        let bad = KeelError(.corrupted, "is gone", path: "bundle")
        let first = register.replaceConfiguration(of: .default, with: [("Endpoint/x", bad), ("Dataset/a", lost)])
        #expect(first.map(\.subject) == ["Endpoint/x", "Dataset/a"])
        #expect(register.all.map { [$0.subject, $0.what] } == [["Dataset/a", "bytes are lost"], ["Endpoint/x", "bundle: is gone"]])
        let since = register.all[1].since
        #expect(register.replaceConfiguration(of: .default, with: [("Endpoint/x", bad)]).isEmpty, "known already")
        #expect(register.all[1].since == since)
        _ = register.replaceConfiguration(of: .default, with: [])
        #expect(register.all.map(\.subject) == ["Dataset/a"])
        var told: [String] = []
        for await finding in register.findings {
            told.append(finding.subject)
            if told.count == 3 { break }
        }
        #expect(told == ["Dataset/a", "Endpoint/x", "Dataset/a"])
    }

    @Test("each workspace has its findings, and a configuration replaces those of its own")
    func workspaces() {
        let register = DamageRegister()
        let fraud = WorkspaceID(stored: "fraud")
        let lost = KeelError(.corrupted, "bytes are lost")
        register.report(ResourceRef("Dataset", "a", in: fraud), lost)
        register.report(ResourceRef("Dataset", "a"), lost)
        #expect(register.replaceConfiguration(of: fraud, with: [("Dataset/b", lost)]).count == 1)
        #expect(register.replaceConfiguration(of: .default, with: [("Dataset/b", lost)]).count == 1, "it is another finding")
        #expect(register.replaceConfiguration(of: .default, with: []).isEmpty)
        #expect(register.all.map(\.fullSubject) == ["Dataset/a", "fraud:Dataset/a", "fraud:Dataset/b"])
        #expect(register.all(in: .default).map(\.subject) == ["Dataset/a"])
        #expect(register.all(in: fraud).map(\.subject) == ["Dataset/a", "Dataset/b"])
    }
}
