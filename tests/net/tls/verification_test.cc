// Which servers a client believes (T58): chains of certificates that are bad,
// each in one way, and good ones that look odd.

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "coil/net/streams.h"
#include "coil/net/tls/context.h"
#include "coil/net/tls/error.h"
#include "coil/task/co.h"
#include "gtest/gtest.h"
#include "tests/net/tls/tls_testing.h"

namespace coil::net {
namespace {

using coil_testing::Authority;
using coil_testing::AuthoritySpec;
using coil_testing::Certificate;
using coil_testing::CertificateSpec;
using coil_testing::Echo;
using coil_testing::RunNet;
using coil_testing::TemporaryFolder;

// What a server shows, and what a client knows and asks for.
struct Chain {
  std::string name;
  std::vector<Certificate> shown;  // the server's own first
  std::string trusted;             // PEM
  std::string host = "localhost";
  std::string revocations;  // PEM, if the client looks at them
};

const Certificate& Root() { return Authority::Get().root; }

CertificateSpec Leaf(const std::string& alternative_names) {
  CertificateSpec spec;
  spec.alternative_names = alternative_names;
  return spec;
}

// Signed by the root that the client trusts.
Chain Signed(const std::string& name, const CertificateSpec& spec,
             const std::string& host = "localhost") {
  Chain chain;
  chain.name = name;
  chain.shown.emplace_back(spec, &Root());
  chain.trusted = Root().Pem();
  chain.host = host;
  return chain;
}

Chain WithNames(const std::string& name, const std::string& alternative_names,
                const std::string& host) {
  return Signed(name, Leaf(alternative_names), host);
}

Chain WithRawName(const std::string& name, const std::string& raw,
                  const std::string& host) {
  CertificateSpec spec = Leaf("");
  spec.raw_dns_name = raw;
  return Signed(name, spec, host);
}

// Signed by authorities below the root, the one next to the root first.
Chain Below(const std::string& name,
            const std::vector<CertificateSpec>& authorities,
            const CertificateSpec& leaf = CertificateSpec(),
            const Certificate* root = nullptr) {
  if (root == nullptr) root = &Root();
  std::vector<Certificate> made;
  made.reserve(authorities.size());
  const Certificate* issuer = root;
  for (const CertificateSpec& spec : authorities) {
    made.emplace_back(spec, issuer);
    issuer = &made.back();
  }
  Chain chain;
  chain.name = name;
  chain.trusted = root->Pem();
  chain.shown.emplace_back(leaf, issuer);
  for (auto it = made.rbegin(); it != made.rend(); ++it) {
    chain.shown.push_back(std::move(*it));
  }
  return chain;
}

CertificateSpec Spec(void (*change)(CertificateSpec&)) {
  CertificateSpec spec;
  change(spec);
  return spec;
}
CertificateSpec CaSpec(void (*change)(CertificateSpec&)) {
  CertificateSpec spec = AuthoritySpec("an authority between");
  change(spec);
  return spec;
}

// What the client says to it; "" if it believes.
std::string Verdict(const Chain& chain) {
  TemporaryFolder folder;
  std::string shown;
  for (const Certificate& certificate : chain.shown) shown += certificate.Pem();
  const std::string certificates = folder.Write("chain.pem", shown);
  const std::string key = folder.Write("key.pem", chain.shown[0].KeyPem());
  const std::string trusted = folder.Write("trusted.pem", chain.trusted);
  // The server itself must not mind. It has a place for one certificate of each
  // kind of key.
  const bool rsa = EVP_PKEY_get_base_id(chain.shown[0].key()) == EVP_PKEY_RSA;
  const CertificateSpec any = Spec([](auto& s) { s.rsa_bits = 2048; });
  static const Certificate rsa_any(any, nullptr);
  TlsContext server_context =
      rsa ? TlsContext::Server(folder.Write("any.pem", rsa_any.Pem()),
                               folder.Write("any.key", rsa_any.KeyPem()))
          : coil_testing::ServerContext();
  server_context.SetCiphers("DEFAULT@SECLEVEL=0");
  server_context.LoadCertChain(certificates, key);
  TlsContext client_context = TlsContext::Client(trusted);
  if (!chain.revocations.empty()) {
    client_context.LoadRevocationFile(
        folder.Write("revoked.pem", chain.revocations));
  }
  std::string verdict;
  RunNet([&]() -> Co<void> {
    Server server = co_await StartServer(Echo, "127.0.0.1", 0,
                                         ServerOptions().Tls(server_context));
    SecureOptions options;
    options.ServerHostname(chain.host);
    try {
      auto [reader, writer] = co_await OpenConnection(
          "127.0.0.1", server.Port(),
          ConnectOptions().Tls(client_context, options));
      co_await writer.Close();
    } catch (const TlsError& error) {
      verdict = error.what();
      EXPECT_NE(error.verify_error(), 0) << verdict;
    }
  });
  return verdict;
}

std::vector<Chain> BadChains() {
  std::vector<Chain> bad;
  // ---- time
  bad.push_back(Signed("expired", Spec([](auto& s) {
                         s.begins_in = -7200;
                         s.ends_in = -3600;
                       })));
  bad.push_back(
      Signed("expired a second ago", Spec([](auto& s) { s.ends_in = -1; })));
  bad.push_back(
      Signed("not yet valid", Spec([](auto& s) { s.begins_in = 3600; })));
  bad.push_back(Signed("ends before it begins", Spec([](auto& s) {
                         s.begins_in = 3600;
                         s.ends_in = -3600;
                       })));
  bad.push_back(Below("expired authority", {CaSpec([](auto& s) {
                        s.begins_in = -7200;
                        s.ends_in = -3600;
                      })}));
  bad.push_back(Below("authority not yet valid",
                      {CaSpec([](auto& s) { s.begins_in = 3600; })}));
  {
    CertificateSpec spec = AuthoritySpec("expired root");
    spec.begins_in = -7200;
    spec.ends_in = -3600;
    const Certificate root(spec, nullptr);
    bad.push_back(Below("expired root", {}, CertificateSpec(), &root));
  }
  // ---- names
  bad.push_back(WithNames("another host", "DNS:other.example", "localhost"));
  bad.push_back(Signed("only a common name", Spec([](auto& s) {
                         s.common_name = "localhost";
                         s.alternative_names = "";
                       })));
  bad.push_back(
      Signed("common name right, alternative wrong", Spec([](auto& s) {
               s.common_name = "localhost";
               s.alternative_names = "DNS:other.example";
             })));
  bad.push_back(WithNames("partial wildcard, front", "DNS:*calhost.example.com",
                          "localhost.example.com"));
  bad.push_back(WithNames("partial wildcard, back", "DNS:lo*.example.com",
                          "localhost.example.com"));
  bad.push_back(WithNames("partial wildcard, middle", "DNS:lo*st.example.com",
                          "localhost.example.com"));
  bad.push_back(
      WithNames("two wildcards", "DNS:*.*.example.com", "a.b.example.com"));
  bad.push_back(WithNames("wildcard for two labels", "DNS:*.example.com",
                          "a.b.example.com"));
  bad.push_back(
      WithNames("wildcard for no label", "DNS:*.example.com", "example.com"));
  bad.push_back(WithNames("wildcard for everything", "DNS:*", "localhost"));
  bad.push_back(
      WithNames("wildcard for a top level", "DNS:*.com", "example.com"));
  bad.push_back(WithNames("wildcard not in front", "DNS:a.*.example.com",
                          "a.b.example.com"));
  bad.push_back(
      WithNames("a longer name", "DNS:localhost.evil.example", "localhost"));
  bad.push_back(
      WithNames("a part of the name", "DNS:example.com", "www.example.com"));
  bad.push_back(WithRawName("zero in a name",
                            std::string("localhost\0.evil.example", 23),
                            "localhost"));
  bad.push_back(WithRawName("zero at the end of a name",
                            std::string("localhost\0", 10), "localhost"));
  bad.push_back(WithRawName("space behind a name", "localhost ", "localhost"));
  bad.push_back(
      WithRawName("dot before a name", ".example.com", "www.example.com"));
  bad.push_back(WithNames("another address", "IP:127.0.0.2", "127.0.0.1"));
  bad.push_back(
      WithNames("an address of the other family", "IP:::1", "127.0.0.1"));
  bad.push_back(
      WithNames("an address as a name", "DNS:127.0.0.1", "127.0.0.1"));
  bad.push_back(
      WithNames("a wildcard for addresses", "DNS:*.0.0.1", "127.0.0.1"));
  bad.push_back(
      WithNames("an address for a name", "IP:127.0.0.1", "localhost"));
  bad.push_back(Signed("an address as a common name", Spec([](auto& s) {
                         s.common_name = "127.0.0.1";
                         s.alternative_names = "";
                       }),
                       "127.0.0.1"));
  bad.push_back(
      WithNames("a URI for a name", "URI:https://localhost/", "localhost"));
  bad.push_back(
      WithNames("a mail address for a name", "email:x@localhost", "localhost"));
  // ---- trust
  {
    Chain chain;
    chain.name = "signed by itself";
    chain.shown.emplace_back(CertificateSpec(), nullptr);
    chain.trusted = Root().Pem();
    bad.push_back(std::move(chain));
  }
  {
    const Certificate stranger(AuthoritySpec("a stranger"), nullptr);
    Chain chain = Below("an unknown root", {}, CertificateSpec(), &stranger);
    chain.trusted = Root().Pem();
    bad.push_back(std::move(chain));
  }
  {
    // Who calls itself what the root is called.
    const Certificate namesake(AuthoritySpec(), nullptr);
    Chain chain =
        Below("a namesake of the root", {}, CertificateSpec(), &namesake);
    chain.trusted = Root().Pem();
    bad.push_back(std::move(chain));
  }
  {
    Chain chain =
        Below("the authority between is not shown", {CaSpec([](auto&) {})});
    chain.shown.pop_back();
    bad.push_back(std::move(chain));
  }
  bad.push_back(Signed("forged", Spec([](auto& s) { s.forged = true; })));
  bad.push_back(
      Below("forged authority", {CaSpec([](auto& s) { s.forged = true; })}));
  // ---- what an authority may do
  bad.push_back(Below("signed by a server", {CertificateSpec()}));
  bad.push_back(Below(
      "authority without the right to sign",
      {CaSpec([](auto& s) { s.key_usage = "critical,digitalSignature"; })}));
  bad.push_back(Below("authority that says it is none", {CaSpec([](auto& s) {
                        s.basic_constraints = "critical,CA:FALSE";
                      })}));
  bad.push_back(
      Below("authority that does not say that it is one", {CaSpec([](auto& s) {
              s.basic_constraints = "";
              s.key_usage = "";
            })}));
  bad.push_back(Below("authority of version 1",
                      {CaSpec([](auto& s) { s.version = 1; })}));
  bad.push_back(Below("path too long",
                      {CaSpec([](auto& s) {
                         s.basic_constraints = "critical,CA:TRUE,pathlen:0";
                       }),
                       CaSpec([](auto& s) { s.common_name = "too deep"; })}));
  bad.push_back(Below("authority for other names", {CaSpec([](auto& s) {
                        s.name_constraints = "critical,permitted;DNS:example";
                      })}));
  bad.push_back(Below("authority that excludes the name", {CaSpec([](auto& s) {
                        s.name_constraints = "critical,excluded;DNS:localhost";
                      })}));
  bad.push_back(Below("authority for code", {CaSpec([](auto& s) {
                        s.extended_key_usage = "codeSigning";
                      })}));
  // ---- what it may be used for
  bad.push_back(Signed("for clients only", Spec([](auto& s) {
                         s.extended_key_usage = "clientAuth";
                       })));
  bad.push_back(Signed("for code only", Spec([](auto& s) {
                         s.extended_key_usage = "codeSigning";
                       })));
  bad.push_back(
      Signed("an unknown rule that must be followed",
             Spec([](auto& s) { s.critical_unknown_extension = true; })));
  // ---- strength
  {
    CertificateSpec spec = AuthoritySpec("a root with RSA");
    spec.rsa_bits = 2048;
    const Certificate root(spec, nullptr);
    bad.push_back(
        Below("MD5", {}, Spec([](auto& s) { s.digest = "MD5"; }), &root));
  }
  bad.push_back(Signed("SHA-1", Spec([](auto& s) { s.digest = "SHA1"; })));
  bad.push_back(
      Signed("RSA of 768 bits", Spec([](auto& s) { s.rsa_bits = 768; })));
  bad.push_back(
      Signed("RSA of 1024 bits", Spec([](auto& s) { s.rsa_bits = 1024; })));
  // ---- revocation
  {
    Chain chain = Signed("revoked", CertificateSpec());
    chain.revocations = Root().CrlPem({&chain.shown[0]});
    bad.push_back(std::move(chain));
  }
  {
    Chain chain = Below("revoked authority", {CaSpec([](auto&) {})});
    chain.revocations =
        Root().CrlPem({&chain.shown[1]}) + chain.shown[1].CrlPem({});
    bad.push_back(std::move(chain));
  }
  {
    Chain chain =
        Below("no list of one of the authorities", {CaSpec([](auto&) {})});
    chain.revocations = Root().CrlPem({});
    bad.push_back(std::move(chain));
  }
  return bad;
}

std::vector<Chain> GoodChains() {
  std::vector<Chain> good;
  good.push_back(Signed("plain", CertificateSpec()));
  good.push_back(WithNames("IPv4", "IP:127.0.0.1", "127.0.0.1"));
  good.push_back(WithNames("IPv6", "IP:::1", "::1"));
  good.push_back(WithNames("IPv6 with a scope", "IP:fe80::1", "fe80::1%1"));
  good.push_back(WithNames("wildcard", "DNS:*.example.com", "a.example.com"));
  good.push_back(
      WithNames("second name", "DNS:other.example,DNS:localhost", "localhost"));
  good.push_back(WithNames("upper case", "DNS:LOCALHOST", "localhost"));
  good.push_back(Below("an authority between", {CaSpec([](auto&) {})}));
  good.push_back(Below("two authorities between",
                       {CaSpec([](auto&) {}), CaSpec([](auto& s) {
                          s.common_name = "the lower one";
                        })}));
  good.push_back(Below("authority for this name", {CaSpec([](auto& s) {
                         s.name_constraints =
                             "critical,permitted;DNS:localhost,permitted;IP:"
                             "127.0.0.0/255.0.0.0,permitted;IP:::1/ffff:ffff:"
                             "ffff:ffff:ffff:ffff:ffff:ffff";
                       })}));
  good.push_back(
      Signed("RSA of 2048 bits", Spec([](auto& s) { s.rsa_bits = 2048; })));
  good.push_back(Signed("without purposes",
                        Spec([](auto& s) { s.extended_key_usage = ""; })));
  {
    Chain chain = Signed("others are revoked", CertificateSpec());
    const Certificate other(CertificateSpec(), &Root());
    chain.revocations = Root().CrlPem({&other});
    good.push_back(std::move(chain));
  }
  return good;
}

TEST(VerificationTest, ReliabilityT58BadChainsAreRefused) {
  const std::vector<Chain> bad = BadChains();
  EXPECT_GE(bad.size(), 40u);
  for (const Chain& chain : bad) {
    SCOPED_TRACE(chain.name);
    const std::string verdict = Verdict(chain);
    EXPECT_NE(verdict, "");
    RecordProperty(absl::StrReplaceAll(chain.name, {{" ", "_"}}), verdict);
  }
}

TEST(VerificationTest, ReliabilityT58GoodChainsAreBelieved) {
  const std::vector<Chain> good = GoodChains();
  EXPECT_GE(good.size(), 10u);
  for (const Chain& chain : good) {
    SCOPED_TRACE(chain.name);
    EXPECT_EQ(Verdict(chain), "");
  }
}

TEST(VerificationTest, WhoSkipsTheVerificationBelievesAnything) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(
        Echo, "127.0.0.1", 0,
        ServerOptions().Tls(coil_testing::ServerContext()));
    const auto connect = [&](TlsContext context,
                             const char* host) -> Co<std::string> {
      SecureOptions options;
      options.ServerHostname(host);
      return coil_testing::ErrorOf(OpenConnection(
          "127.0.0.1", server.Port(), ConnectOptions().Tls(context, options)));
    };
    // The authorities of the system do not know ours.
    EXPECT_NE(co_await connect(TlsContext::Client(), "localhost"), "");
    EXPECT_EQ(co_await connect(TlsContext::Client().InsecureSkipVerify(),
                               "other.example"),
              "");
    EXPECT_EQ(co_await connect(TlsContext::Client().InsecureSkipVerify(), ""),
              "");
    EXPECT_NE(co_await connect(TlsContext::Client().InsecureSkipHostnameCheck(),
                               "other.example"),
              "");
    EXPECT_EQ(co_await connect(
                  coil_testing::ClientContext().InsecureSkipHostnameCheck(),
                  "other.example"),
              "");
  });
}

TEST(VerificationTest, AuthoritiesMayComeAsText) {
  TlsContext context = coil_testing::ClientContext();
  const Certificate stranger(AuthoritySpec("a stranger"), nullptr);
  context.LoadVerifyText(stranger.Pem() + Root().Pem());
  EXPECT_THROW(context.LoadVerifyText(Root().Pem().substr(0, 200)), TlsError);
  EXPECT_THROW(context.LoadVerifyText(""), TlsError);
}

}  // namespace
}  // namespace coil::net
